import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { reportError } from './cli/output/terminal.ts';
import { parseDuration } from './app/config/units.ts';
import { usage } from './lib/errors.ts';
import { removeTemporaries } from './lib/bytes/temp-files.ts';
import { VERSION } from './lib/version.ts';

/** Options repeat: `--timestamp A --timestamp B`. */
const collect = (value: string, before: string[] = []): string[] => [...before, value];

function timeSpan(text: string): number {
  const milliseconds = parseDuration(text);
  if (milliseconds === undefined) throw new InvalidArgumentError('write 30s, 10m or 2h.');
  return milliseconds;
}

/** Ctrl-C, or a job that is called off, ends a command at once, with nothing half-written left behind. */
function endWhenStopped(): void {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(signal, () => {
      removeTemporaries();
      process.kill(process.pid, signal);
    });
}

/** Runs a command's module, loaded only now, and turns what it throws into an exit status. */
function running(
  load: () => Promise<(...args: never[]) => Promise<number>>,
  prepare: () => void | Promise<void> = endWhenStopped,
) {
  return async (...args: unknown[]): Promise<void> => {
    await prepare();
    // commander hands over the arguments, the options, and the command itself.
    const given = args.slice(0, -1) as never[];
    try {
      process.exitCode = await (await load())(...given);
    } catch (error) {
      process.exitCode = reportError(error, given.at(-1) ?? {});
    }
  };
}

const program = new Command('signpipe')
  .description('Git names the zip, SSH moves it, the signer signs it, a receipt proves it.')
  .version(VERSION)
  .configureHelp({ showGlobalOptions: true })
  // Said by `reportUsage`, in the form that errors have everywhere.
  .configureOutput({ outputError: () => {} })
  .exitOverride();

/** What was typed. Options of other commands are not even made: there are many, and it takes time. */
const words = new Set(process.argv.slice(2));
const helping = words.size === 0 || ['help', '-h', '--help'].some((word) => words.has(word));

/** A command with the flags that all have, and those that `complete` gives it. */
function command(
  parent: Command,
  usage: string,
  summary: string,
  complete: (made: Command) => Command,
): void {
  const made = parent.command(usage).description(summary).exitOverride();
  if (helping || words.has(made.name()))
    complete(made.option('-q, --quiet', 'say less').option('-v, --verbose', 'say more'));
}

const config = (file: string): Option =>
  new Option('-c, --config <file>', `configuration, such as ${file}`).makeOptionMandatory();
const json = new Option('--json', 'machine-readable result on standard output');
const requestsBranch = new Option('--requests <branch>', 'the branch of requests').default('main');
const receiptsBranch = new Option('--receipts <branch>', 'the branch of receipts').default('signed');
const timeout = new Option('--timeout <time>', 'how long to wait')
  .argParser(timeSpan)
  .default(30 * 60_000, '30m');
const force = new Option('--force', 'replace an output file that is there already');
const allowTest = new Option(
  '--allow-test-certificate',
  'take files that were signed with a test certificate',
);

command(
  program,
  'demo [zip]',
  'the whole pipeline on this machine, with throw-away keys and no network beyond the loopback',
  (made) =>
    made
      .option('--dir <dir>', 'leave everything there to look at')
      .action(running(async () => (await import('./cli/commands/demo.ts')).demoCommand)),
);

command(program, 'init <what> <dir>', 'lay out a site: signer, builder, voucher or control', (made) =>
  made
    .option('--test-certificate', 'make a self-signed code-signing certificate, marked as a test')
    .option('--control <url>', 'URL of the control repository')
    .option('--exchange <url>', 'URL of the exchange')
    .option('--name <name>', 'who this is, in commits and key comments')
    .option('--email <address>', 'address in commits')
    .addOption(json)
    .action(running(async () => (await import('./cli/commands/init.ts')).initCommand)),
);

command(program, 'watch', 'the signer: answers requests as they come', (made) =>
  made
    .addOption(config('signer.yaml'))
    .option('--once', 'answer what is pending and exit')
    .option(
      '--accept-history <commit>',
      'accept a request or receipt branch that was refused, as it stands at this commit',
    )
    .option('--json', 'log as JSON lines on a terminal too')
    .action(
      running(
        async () => (await import('./cli/commands/watch.ts')).watchCommand,
        // Before its many modules are there, whose objects are new too. It ends what is in hand by itself.
        async () => (await import('./lib/bytes/gc-tuning.ts')).collectForBuffers(),
      ),
    ),
);

command(
  program,
  'submit <files...>',
  'upload files and ask for their signatures; prints the request id',
  (made) =>
    made
      .addOption(config('builder.yaml'))
      .option('--wait', 'wait for the answer and download the result')
      .addOption(timeout)
      .option('--output <dir>', 'where signed files go, with --wait (default: ./signed)')
      .option('--revision <rev>', 'what was built, for the Source-Revision trailer')
      .option('--channel <name>', 'which policy applies')
      .option('--as <name>', 'the name under which one file, or what is packed, travels')
      .option(
        '--sparse',
        'pin the programs of a zip one by one, so that the signer need not move the rest; the answer is proved by the zip',
      )
      .option(
        '--files <glob>',
        'with --sparse: which ones; repeat for more, "!" excludes (default: what the signer says that it signs)',
        collect,
      )
      .addOption(allowTest)
      .addOption(json)
      .action(running(async () => (await import('./cli/commands/submit.ts')).submitCommand)),
);

command(
  program,
  'wait <request>',
  'wait until a request is answered; check the receipt; download the result',
  (made) =>
    made
      .addOption(config('builder.yaml'))
      .addOption(timeout)
      .option('--output <dir>', 'where signed files go (default: ./signed)')
      .option(
        '--original <file>',
        'prove that the signed file is this one plus its signatures; repeat for several files',
        collect,
      )
      .addOption(allowTest)
      .addOption(json)
      .action(running(async () => (await import('./cli/commands/wait.ts')).waitCommand)),
);

command(program, 'sign <files...>', 'sign local programs, or the programs in local zips', (made) =>
  made
    .option(
      '--output <path>',
      'where the signed file goes; a folder for several (default: NAME.signed.EXT beside the input)',
    )
    .option('--in-place', 'change the files themselves; mode, owner and hard links stay')
    .addOption(force)
    .option('--pfx <file>', 'PKCS#12 file with key and certificates')
    .option('--key-name <name>', 'which key, when the PKCS#12 file holds several')
    .option('--certificate <file>', 'PEM certificate chain')
    .option('--key <file>', 'PEM private key')
    .option('--passphrase-file <file>', 'passphrase of the key; else SIGNPIPE_PASSPHRASE, else asked for')
    .addOption(
      new Option('--timestamp <url>', 'RFC 3161 authority; repeat for more, tried in order')
        .argParser(collect)
        .default([], 'none'),
    )
    .option(
      '--timestamp-ca <pem>',
      'roots that timestamps must lead to: a file, or "public"; repeat for more (default: public, or none with a test certificate)',
      collect,
    )
    .addOption(
      new Option('--digest <name>', 'digest').choices(['sha256', 'sha384', 'sha512']).default('sha256'),
    )
    .addOption(
      new Option('--already-signed <policy>', 'programs that bear a signature')
        .choices(['keep', 'replace', 'append', 'reject'])
        .default('keep'),
    )
    .option('--name <text>', 'description that Windows shows')
    .option('--url <text>', 'where to learn more')
    .option(
      '--files <glob>',
      'which entries of a zip to sign; repeat for more, "!" excludes (default: **/*.exe, **/*.dll)',
      collect,
    )
    .addOption(json)
    .action(running(async () => (await import('./cli/commands/sign.ts')).signCommand)),
);

command(
  program,
  'verify <files...>',
  'check signatures, chains and timestamps; for a zip, of each program in it',
  (made) =>
    made
      .option('--ca <pem>', 'roots that signers must lead to')
      .option(
        '--timestamp-ca <pem>',
        'roots that timestamps must lead to: a file, or "public" for those that come along; repeat for more',
        collect,
      )
      .option('--original <file>', 'prove that the file is this one plus signatures, and nothing else')
      .option(
        '--files <glob>',
        'programs of a zip that must all be signed under --ca; repeat for more, "!" excludes',
        collect,
      )
      .option('--any-signer', 'take it without --ca: it does not matter who signed')
      .addOption(json)
      .action(running(async () => (await import('./cli/commands/verify.ts')).verifyCommand)),
);

const signature = program
  .command('signature')
  .description('detached signatures: extract, remove, attach')
  .exitOverride();

command(signature, 'extract <file>', 'write the signature of a program as PKCS#7, DER', (made) =>
  made
    .requiredOption('-o, --output <p7>', 'where it goes')
    .addOption(force)
    .addOption(json)
    .action(running(async () => (await import('./cli/commands/signature.ts')).extractCommand)),
);

command(signature, 'remove <file>', 'write the program without its signature', (made) =>
  made
    .requiredOption('-o, --output <out>', 'where it goes')
    .addOption(force)
    .addOption(json)
    .action(running(async () => (await import('./cli/commands/signature.ts')).removeCommand)),
);

command(
  signature,
  'attach <file>',
  'write the program or zip with its signatures, bit for bit, without the key',
  (made) =>
    made
      .requiredOption('-o, --output <out>', 'where it goes')
      .addOption(force)
      .addOption(json)
      .option('--signature <p7>', 'a detached signature')
      .option('--receipt <request>', 'take the signatures from the receipt of this request ...')
      .option('--repo <url>', '... in this control repository: a folder or URL')
      .addOption(requestsBranch)
      .addOption(receiptsBranch)
      .action(running(async () => (await import('./cli/commands/attach.ts')).attachCommand)),
);

command(
  program,
  'audit',
  'who asked for what, what was signed, what was refused; verifies every signature and link',
  (made) =>
    made
      .option('--repo <url>', 'control repository: a folder, which is only read, or a URL', '.')
      .option('--allowed-signers <file>', 'who may have signed requests, vouches and receipts (required)')
      .option(
        '--receipt-signers <file>',
        'who may have signed receipts; else the key that the branch belongs to',
      )
      .addOption(requestsBranch)
      .addOption(receiptsBranch)
      .option('--after <commit>', 'requests up to this one were never meant to be answered (control.since)')
      .option('--html <out>', 'write one self-contained page')
      .option('--since <date>', 'only what was answered since: 2026-01-31, "2026-01-31 09:30" (UTC), or 30d')
      .option('--name <glob>', 'only requests that name such a file')
      .addOption(
        new Option('--outcome <outcome>', 'only such rows').choices([
          'signed',
          'rejected',
          'failed',
          'waiting',
          'unproven',
        ]),
      )
      .option(
        '--revoked-at <time>',
        'which signatures would a revocation at this time make invalid, and which stay valid thanks to their timestamp? "2026-01-31 09:30" is UTC',
      )
      .option('--certificate <sha256>', '... of the certificate with this SHA-256, or its first digits')
      .addOption(json)
      .action(running(async () => (await import('./cli/commands/audit.ts')).auditCommand)),
);

command(
  program,
  'vouch <files...>',
  'say with a signed commit that this builder got the same bytes',
  (made) =>
    made
      .addOption(config('voucher.yaml'))
      .option('--as <name>', 'the name that the request uses')
      .addOption(json)
      .action(running(async () => (await import('./cli/commands/vouch.ts')).vouchCommand)),
);

command(
  program,
  'doctor',
  'try every part of a signer, builder or voucher; say what is wrong and what to do',
  (made) =>
    made
      .addOption(config('signer.yaml'))
      .addOption(json)
      .action(running(async () => (await import('./cli/commands/doctor.ts')).doctorCommand)),
);

/** Reports what commander refuses as every other mistake on the command line is reported. */
function reportUsage({ message }: CommanderError): number {
  const error = usage('command-line', message.replace(/^error: /, '').replaceAll('\n', ' '), {
    hint: '`signpipe COMMAND --help` lists what a command takes',
  });
  return reportError(error, { json: words.has('--json') });
}

async function run(): Promise<void> {
  try {
    await program.parseAsync();
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    // Help and version were asked for; help shown because the command is missing has been printed.
    if (error.exitCode === 0) process.exitCode = 0;
    else process.exitCode = error.code === 'commander.help' ? 2 : reportUsage(error);
  }
}

/** Settles when the command that was typed has come to its end. */
export const ended = run();
