import type { ErrorCodeText } from '../../app/overview/story/error-code.ts';
import type { RequestStory, StoryEvent } from '../../app/overview/story/request-story.ts';
import { shortId } from '../../lib/git/objects.ts';
import { plural } from '../../lib/plural.ts';
import { printable } from '../../lib/printable.ts';
import { zipnameLines } from '../../protocol/control/zipname.ts';
import type { Receipt } from '../../protocol/control/receipt-schema.ts';
import { duration } from './ago.ts';

const WHO_ACTS: ReadonlyMap<string, string> = new Map([
  ['usage', 'the command line, the configuration or a key is wrong: correct it (exit status 2)'],
  ['invalid', 'the bytes are not what they should be: their author has to correct them (exit status 3)'],
  ['not-allowed', 'well formed, but policy forbids it (exit status 3)'],
  ['alarm', 'history or a host key was changed: stop and look (exit status 3)'],
  ['unavailable', 'something outside is down: try again (exit status 1)'],
  ['local', 'something on this machine failed (exit status 1)'],
  ['timeout', 'the time that you gave is over (exit status 4)'],
  ['problem', 'a line in a report, or the reason why a request waits'],
]);

/** What an error code means. */
export const codeText = ({ code, kinds, meaning, topic }: ErrorCodeText): string =>
  [
    `${code} (${topic})`,
    `  ${meaning}`,
    ...kinds.map((kind) => `  ${kind}: ${WHO_ACTS.get(kind) ?? ''}`),
  ].join('\n');

/** Programs that are listed of one file. */
const MOST_PROGRAMS = 20;

function eventLines(events: readonly StoryEvent[]): string[] {
  return events.map(({ at, text, commit, proven }, i) => {
    const before = events[i - 1]?.at;
    const passed = before ? at.getTime() - before.getTime() : 0;
    const since = passed <= 0 ? '' : `+${passed < 1000 ? `${passed} ms` : duration(passed)}`;
    const proof = proven === false ? ' (not proved)' : '';
    const id = commit === undefined ? '' : `  ${shortId(commit)}`;
    return `  ${at.toISOString()}  ${since.padEnd(8)}  ${printable(text, 500)}${proof}${id}`;
  });
}

function fileLines({ files }: Receipt): string[] {
  return files.flatMap(({ input, output, signed, entries }) => {
    const place = output ? `, delivered as ${printable(output.path ?? output.name, 300)}` : '';
    const programs = signed.slice(0, MOST_PROGRAMS).map(({ path, timestamp }) => {
      const stamped = timestamp
        ? `, timestamp ${timestamp.time} by ${printable(timestamp.authority, 100)}`
        : '';
      return `    signed ${path === '' ? 'the file itself' : printable(path, 300)}${stamped}`;
    });
    const more = signed.length > MOST_PROGRAMS ? [`    and ${signed.length - MOST_PROGRAMS} more`] : [];
    return [
      `  ${printable(input.name, 255)}: ${signed.length} of ${plural(entries, 'file')} signed${place}`,
      ...programs,
      ...more,
    ];
  });
}

function answerLines({ answer, waitsFor }: RequestStory): string[] {
  if (answer === null)
    return waitsFor ? [`waits     ${printable(waitsFor.text, 1000)} [${printable(waitsFor.code, 100)}]`] : [];
  const { receipt, id, proven } = answer;
  const { certificate, repeats, outcome, test, signer, signpipe } = receipt;
  const proof = proven ? '' : ', NOT PROVED: no key that is trusted for receipts signed it';
  const by = signer ? ` by ${printable(signer.name, 100)}` : '';
  return [
    `answer    ${test ? 'TEST ' : ''}${outcome}, receipt ${id}${by}, signpipe ${printable(signpipe, 64)}${proof}`,
    ...(certificate
      ? [
          `signed as ${printable(certificate.subject, 300)}, until ${certificate.notAfter}, SHA-256 ${certificate.sha256}`,
        ]
      : []),
    ...(repeats ? [`repeats   request ${repeats.request}`] : []),
    ...fileLines(receipt),
  ];
}

/** A reader without a list of requesters knows them by their keys alone. */
const askedByText = ({ principal, key }: { principal: string; key: string }): string =>
  principal === key ? `the key ${key}` : `${printable(principal, 200)}, key ${key}`;

/** The story of a request, for people. */
export function storyText(story: RequestStory): string {
  const { request, subject, askedBy, author, unproved, channel, sourceRevision, retryOf, files, events } =
    story;
  const asker = askedBy
    ? askedByText(askedBy)
    : `not proved: ${printable(unproved?.text ?? '', 500)} [${unproved?.code ?? ''}]; the commit names ${printable(author, 200)}`;
  return [
    `request   ${request}`,
    `subject   ${printable(subject, 200)}`,
    `asked by  ${asker}`,
    `channel   ${printable(channel, 64)}${sourceRevision === null ? '' : `, source revision ${printable(sourceRevision, 200)}`}`,
    ...(retryOf === null ? [] : [`retry of  ${retryOf}`]),
    ...story.retries.map((id) => `retried   ${id}`),
    ...files.flatMap((file) => zipnameLines(file).map((line) => `pins      ${printable(line, 500)}`)),
    ...answerLines(story),
    'what happened',
    ...eventLines(events),
  ].join('\n');
}
