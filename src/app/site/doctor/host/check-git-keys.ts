import { readFile, stat } from 'node:fs/promises';
import { printable } from '../../../../lib/printable.ts';
import { plural } from '../../../../lib/plural.ts';
import { bad, ok, warning, type CheckResult } from '../check-result.ts';
import { parseAuthorizedKeys, type AuthorizedKey } from './authorized-keys.ts';

const ROLES: ReadonlySet<string> = new Set(['builder', 'signer', 'voucher', 'courier']);

/** The value of a variable at the beginning of a forced command; null if the command does not set it. */
function variableIn(command: string, name: string): string | null {
  for (const [, variable, value = ''] of command.matchAll(
    /(?<!\S)(SIGNPIPE_[A-Z]+)=('[^']*'|[^\s']*)(?=\s)/g,
  ))
    if (variable === name) return value.replaceAll("'", '');
  return null;
}

const at = (file: string, { line }: AuthorizedKey): string => `${file}, line ${line}`;

/** What is wrong with one line; null if it gives one key the roles that it should. */
function checkLine(file: string, key: AuthorizedKey): CheckResult | null {
  const command = key.options.get('command');
  const example = 'write it as in pipeline/host/authorized_keys';
  if (command === undefined)
    return bad(
      'git-key-unlimited',
      `${at(file, key)}: the key has no forced command, so it can run anything as this account, and give itself any role`,
      example,
    );
  if (!/\bexec git-shell -c "\$SSH_ORIGINAL_COMMAND"$/.test(command))
    return warning(
      'git-key-command',
      `${at(file, key)}: the forced command does not end with exec git-shell, so what it permits is not known here`,
      example,
    );
  const role = variableIn(command, 'SIGNPIPE_ROLE');
  if (role === null)
    return bad(
      'git-key-role',
      `${at(file, key)}: the command sets no SIGNPIPE_ROLE: sshd could take it from the client`,
      `${example}; an empty SIGNPIPE_ROLE= is for keys that only read`,
    );
  const unknown = role.split(' ').filter((word) => word !== '' && !ROLES.has(word));
  if (unknown.length > 0)
    return bad(
      'git-key-role',
      `${at(file, key)}: there is no role ${printable(unknown.join(', '), 100)}`,
      `the roles are ${[...ROLES].join(', ')}`,
    );
  return checkLimits(file, key, role, variableIn(command, 'SIGNPIPE_USER') ?? '');
}

function checkLimits(file: string, key: AuthorizedKey, role: string, user: string): CheckResult | null {
  if (role.split(' ').includes('voucher') && !/^[A-Za-z0-9][A-Za-z0-9_-]*$/.test(user))
    return bad(
      'git-key-role',
      `${at(file, key)}: a voucher needs a plain SIGNPIPE_USER, which names the branch`,
      'one word of letters, digits, - and _',
    );
  if (!key.options.has('restrict'))
    return warning(
      'git-key-not-restricted',
      `${at(file, key)}: without "restrict" the key may forward ports and open a terminal`,
      'put restrict, before command=',
    );
  return null;
}

/** The examples in pipeline/host/authorized_keys have no real key; sshd takes no notice of such a line. */
const isExample = ({ key }: AuthorizedKey): boolean => key.includes('...');

function examples(file: string, keys: readonly AuthorizedKey[]): CheckResult[] {
  const [first] = keys;
  if (!first) return [];
  return [
    warning(
      'git-key-example',
      `${at(file, first)}: an example without a real key${keys.length > 1 ? `, and ${plural(keys.length - 1, 'more line')} like it` : ''}`,
      'replace it by the lines that "signpipe init" prints for each person and machine, or delete it',
    ),
  ];
}

/** sshd uses the first line of a key: roles in a second one have no effect. */
function repeated(file: string, keys: readonly AuthorizedKey[]): CheckResult[] {
  const first = new Map<string, AuthorizedKey>();
  return keys.flatMap((key) => {
    const earlier = first.get(key.key);
    if (!earlier) {
      first.set(key.key, key);
      return [];
    }
    return [
      warning(
        'git-key-twice',
        `${at(file, key)}: the key is in line ${earlier.line} already, which alone counts`,
        "give one key several roles in one line: SIGNPIPE_ROLE='builder voucher'",
      ),
    ];
  });
}

/** Checks the keys of the account that owns the control repository. */
export async function checkGitKeys(file: string): Promise<CheckResult[]> {
  const [text, { mode }] = await Promise.all([readFile(file, 'utf8'), stat(file)]);
  const listed = parseAuthorizedKeys(text);
  const keys = listed.filter((key) => !isExample(key));
  const problems = [
    ...((mode & 0o022) === 0
      ? []
      : [
          bad(
            'trust-writable',
            `${file}: other accounts can change it, and give themselves any role`,
            `chmod go-w ${file}`,
          ),
        ]),
    ...keys.flatMap((key) => checkLine(file, key) ?? []),
    ...repeated(file, keys),
    ...examples(file, listed.filter(isExample)),
  ];
  if (keys.length === 0)
    return [
      ...problems,
      warning('git-no-keys', `${file}: no key is listed`, 'add the lines that "signpipe init" printed'),
    ];
  return problems.length > 0 ? problems : [ok(`${plural(keys.length, 'key')} with roles, in ${file}`)];
}
