import { Argument, Command, Option } from 'commander';
import { VERSION } from '../lib/version.ts';
import {
  addCommand,
  allowTest,
  config,
  endWhenStopped,
  folderIfWaiting,
  force,
  json,
  outputFile,
  receiptSigners,
  receiptsBranch,
  redrawEvery,
  rewriteEvery,
  repeatable,
  requestsBranch,
  run,
  timeout,
  upTo,
} from './define-command.ts';

/** The command line: every command with its options, and the module that runs it. */
export const program = new Command('signpipe')
  .description('Git names the zip, SSH moves it, the signer signs it, a receipt proves it.')
  .version(VERSION)
  .configureHelp({ showGlobalOptions: true })
  // `reportUsage` reports these errors, in the form that all errors have.
  .configureOutput({ outputError: () => {} })
  .exitOverride();

addCommand(
  program,
  'demo [zip]',
  'run the whole pipeline on this machine, with a zip of yours or with sample programs, throw-away keys and no network beyond the loopback',
)
  ?.option('--dir <dir>', 'new or empty folder to work in (default: a new temporary folder)')
  .addOption(
    new Option('--timestamp-via <way>', 'how the signer reaches the timestamp authority')
      .choices(['direct', 'ssh', 'courier'])
      .default('direct'),
  )
  .action(run(async () => (await import('./commands/demo.ts')).demoCommand));

addCommand(
  program,
  'init <what> <dir>',
  'set up a signer, builder, voucher, auditor, courier or control (the control repository and the exchange) in a folder: write its keys and files, list what is left to do',
)
  ?.option('--test-certificate', 'create a self-signed code-signing certificate, marked as a test')
  .option(
    '--pkcs11 [module]',
    'the signing key is on a token: look for it through this PKCS#11 module, or through all that are installed',
  )
  .option('--control <url>', 'URL of the control repository')
  .option('--exchange <url>', 'URL of the exchange')
  .option('--name <name>', 'name in commits and key comments')
  .option('--email <address>', 'address in commits')
  .addOption(json)
  .action(run(async () => (await import('./commands/init.ts')).initCommand));

addCommand(program, 'watch', 'run the signer: answer requests as they arrive')
  ?.addOption(config('signer.yaml'))
  .option('--once', 'answer the pending requests and exit')
  .option(
    '--accept-history <commit>',
    'accept a request or receipt branch that was refused, as it is at this commit',
  )
  .option('--json', 'log JSON lines even on a terminal')
  .action(
    run(
      async () => (await import('./commands/watch.ts')).watchCommand,
      // Before its many modules are loaded, whose objects are new too. It finishes its work by itself when stopped.
      async () => (await import('../lib/bytes/gc-tuning.ts')).collectForBuffers(),
    ),
  );

addCommand(
  program,
  'courier',
  'carry timestamp queries of a signer from Git to the authorities, and the answers back',
)
  ?.addOption(config('courier.yaml'))
  .option('--once', 'answer the queries that wait now, and exit')
  .option('--json', 'log JSON lines even on a terminal')
  .action(
    run(
      async () => (await import('./commands/courier.ts')).courierCommand,
      // It finishes its work by itself when stopped.
      () => {},
    ),
  );

addCommand(program, 'submit [files...]', 'upload files and request signatures for them; print the request id')
  ?.addOption(config('builder.yaml'))
  .option(
    '--dry-run',
    'only show what the signer would do, by its published policy; upload and request nothing',
  )
  .option('--wait', 'wait for the answer and download the signed files')
  .option(
    '--in-place',
    'wait, and replace the files by their signed versions: all of them, or none if anything is wrong',
  )
  .option(
    '--list <file>',
    'also take names from this file, one a line or ended by NUL; "-" is standard input',
  )
  .addOption(timeout)
  .addOption(folderIfWaiting)
  .option('--revision <rev>', 'what was built, for the trailer Source-Revision')
  .option('--channel <name>', 'channel, which decides the policy that applies (default: "default")')
  .option(
    '--as <name>',
    'name under which a single file, or the packed zip, is uploaded; with --in-place, how such names begin',
  )
  .option('--no-pack', 'upload each file as it is, for a channel that delivers checksums of any file')
  .option(
    '--sparse',
    'pin the programs of a zip one by one, so that the signer need not fetch the rest; the signed zip is then checked against the original',
  )
  .option(
    '--files <glob>',
    'with --sparse: programs to pin; repeat for more, "!" excludes (default: those that the signer says it signs)',
    repeatable,
  )
  .addOption(allowTest)
  .addOption(json)
  .action(run(async () => (await import('./commands/submit.ts')).submitCommand));

addCommand(
  program,
  'wait <request>',
  'wait for the answer to a request, check its receipt and download the signed files',
)
  ?.addOption(config('builder.yaml'))
  .addOption(timeout)
  .option('--output <dir>', 'folder for the signed files (default: ./signed)')
  .option(
    '--original <file>',
    'prove that the signed file is this file plus signatures; repeat for several files',
    repeatable,
  )
  .addOption(allowTest)
  .addOption(json)
  .action(run(async () => (await import('./commands/wait.ts')).waitCommand));

addCommand(
  program,
  'cancel <request>',
  'withdraw a request: the signer rejects it unless it has used its key for it already',
)
  ?.addOption(config('builder.yaml'))
  .option('--reason <text>', 'why, for those who read the history')
  .option('--wait', 'wait until the signer has answered')
  .addOption(timeout)
  .addOption(json)
  .action(run(async () => (await import('./commands/cancel.ts')).cancelCommand));

addCommand(
  program,
  'retry <request>',
  'request the same bytes again after a failure or refusal; nothing is uploaded twice',
)
  ?.addOption(config('builder.yaml'))
  .option('--wait', 'wait for the answer and download the signed files')
  .addOption(timeout)
  .addOption(folderIfWaiting)
  .option(
    '--original <file>',
    'with --wait: prove that the signed file is this file plus signatures; repeat for several files',
    repeatable,
  )
  .addOption(allowTest)
  .addOption(json)
  .action(run(async () => (await import('./commands/retry.ts')).retryCommand));

addCommand(
  program,
  'hold [reason...]',
  'stop all signing by a signed commit; with signer.yaml, on that signer alone',
)
  ?.addOption(config('builder.yaml'))
  .addOption(json)
  .action(run(async () => (await import('./commands/hold.ts')).holdCommand));

addCommand(program, 'unhold', 'lift a HOLD by a signed commit; with signer.yaml, on that signer alone')
  ?.addOption(config('builder.yaml'))
  .option(
    '--again',
    'lift it also if it seems to be lifted already, by a commit that the signer does not count',
  )
  .addOption(json)
  .action(run(async () => (await import('./commands/hold.ts')).unholdCommand));

/** The flags of commands that sign: with which key, and what the signature says. */
const withSigningFlags = (command: Command | undefined): Command | undefined =>
  command
    ?.option('--pfx <file>', 'PKCS#12 file with key and certificates')
    .option('--key-name <name>', 'which key, if the PKCS#12 file contains several')
    .option('--certificate <file>', 'PEM certificate chain; some kinds of keys come with it')
    .option('--key <key>', 'PEM private key, or the URI of a key elsewhere (docs/keys.md)')
    .addOption(
      new Option(
        '--concurrency <number>',
        'signatures at a time, by a program or a service (default: depends on the kind of key)',
      ).argParser(upTo(256)),
    )
    .option(
      '--passphrase-file <file>',
      'file with the passphrase of the key (default: SIGNPIPE_PASSPHRASE, else a prompt)',
    )
    .addOption(
      new Option('--timestamp <url>', 'RFC 3161 authority; repeat for more, tried in order')
        .argParser(repeatable)
        .default([], 'none'),
    )
    .option(
      '--timestamp-ca <pem>',
      'roots that timestamps must lead to: a file, or "public"; repeat for more (default: public, or none with a test certificate)',
      repeatable,
    )
    .addOption(
      new Option('--digest <name>', 'digest algorithm')
        .choices(['sha256', 'sha384', 'sha512'])
        .default('sha256'),
    )
    .option('--name <text>', 'description that Windows shows')
    .option('--url <text>', 'URL that Windows shows for more information');

withSigningFlags(addCommand(program, 'sign <files...>', 'sign local programs, or the programs in local zips'))
  ?.option(
    '--output <path>',
    'signed file, or a folder for several (default: NAME.signed.EXT beside the input)',
  )
  .option('--in-place', 'change the files themselves; keep mode, owner and hard links')
  .addOption(force)
  .addOption(
    new Option('--already-signed <policy>', 'what to do with programs that are signed already')
      .choices(['keep', 'replace', 'append', 'reject'])
      .default('keep'),
  )
  .addOption(
    new Option(
      '--inside <policy>',
      'what to do with programs inside of containers: zips in a zip, and signed ones such as MSI',
    )
      .choices(['sign', 'require-signed', 'report', 'ignore'])
      .default('report'),
  )
  .option('--page-hashes', 'also sign a hash of every page, which some drivers and protected processes need')
  .option(
    '--files <glob>',
    'entries of a zip to sign; repeat for more, "!" excludes (default: **/*.exe, **/*.dll)',
    repeatable,
  )
  .addOption(json)
  .action(run(async () => (await import('./commands/sign.ts')).signCommand));

withSigningFlags(
  addCommand(
    program,
    'catalog <files...>',
    'make a catalog (.cat) that lists files, and all files in folders, and sign it',
  ),
)
  ?.addOption(outputFile('cat'))
  .addOption(force)
  .option('--unsigned', 'only make the catalog: sign it later, or submit it')
  .option('--time <time>', 'time in the catalog: 2026-01-31, "2026-01-31 09:30:00" (UTC); default: now')
  .option('--attribute <name=text>', 'text about the catalog, such as HWID1; repeat for more', repeatable)
  .option('--file-attribute <name=text>', 'text about each file, such as OSAttr; repeat for more', repeatable)
  .option('--sha1', 'list SHA-1 digests too, for Windows before 8')
  .addOption(json)
  .action(run(async () => (await import('./commands/catalog.ts')).catalogCommand));

addCommand(
  program,
  'plan <files...>',
  'show what signing would do to files, in which order, and what is kept and why; sign nothing',
)
  ?.option(
    '-c, --config <file>',
    'decide as a signer with this signer.yaml does; other flags replace its settings',
  )
  .option('--channel <name>', 'with --config: channel (default: "default")')
  .addOption(
    new Option(
      '--already-signed <policy>',
      'what to do with programs that are signed already (default: keep)',
    ).choices(['keep', 'replace', 'append', 'reject']),
  )
  .addOption(
    new Option(
      '--inside <policy>',
      'what to do with programs inside of containers (default: report)',
    ).choices(['sign', 'require-signed', 'report', 'ignore']),
  )
  .option(
    '--files <glob>',
    'entries of a zip to sign; repeat for more, "!" excludes (default: **/*.exe, **/*.dll)',
    repeatable,
  )
  .addOption(json)
  .action(run(async () => (await import('./commands/plan.ts')).planCommand));

addCommand(
  program,
  'verify <files...>',
  'check the signatures, chains and timestamps of programs, and of the programs in zips',
)
  ?.option('--ca <pem>', 'roots that signers must lead to')
  .option(
    '--timestamp-ca <pem>',
    'roots that timestamps must lead to: a file, or "public" for those that signpipe includes; repeat for more',
    repeatable,
  )
  .option('--original <file>', 'prove that the file is this file plus signatures, and nothing else')
  .option(
    '--files <glob>',
    'programs of a zip that must all be signed under --ca; repeat for more, "!" excludes',
    repeatable,
  )
  .option(
    '--identity <text>',
    'with --ca: who must have signed, by the subject as `verify` prints it, "SUBJECT; ISSUER", or the OID of an identity (EKU)',
  )
  .option('--any-signer', 'accept any signer, without --ca')
  .option('--folder <dir>', 'of a catalog: the files in this folder must be those that it lists')
  .option('--provenance <jsonl>', 'check the signed statement of how the file was signed: NAME.intoto.jsonl')
  .option(
    '--receipt-signers <file>',
    'with --provenance: who may sign it, as an allowed signers file or the .pub file of the receipt key',
  )
  .addOption(json)
  .action(run(async () => (await import('./commands/verify.ts')).verifyCommand));

const signature = program
  .command('signature')
  .description('extract, remove or attach detached signatures')
  .exitOverride();

addCommand(
  signature,
  'extract <file>',
  'write the signature of a file by itself: PKCS#7 in DER, for most formats',
)
  ?.addOption(outputFile('p7'))
  .addOption(force)
  .addOption(json)
  .action(run(async () => (await import('./commands/signature.ts')).extractCommand));

addCommand(signature, 'remove <file>', 'write the program without its signature')
  ?.addOption(outputFile('out'))
  .addOption(force)
  .addOption(json)
  .action(run(async () => (await import('./commands/signature.ts')).removeCommand));

addCommand(
  signature,
  'attach <file>',
  'write the program or zip with its signatures, bit for bit, without the key',
)
  ?.addOption(outputFile('out'))
  .addOption(force)
  .addOption(json)
  .option('--signature <p7>', 'detached signature to attach')
  .option('--receipt <request>', 'take the signatures from the receipt of this request')
  .option('--repo <url>', 'with --receipt: control repository, a folder or URL')
  .addOption(requestsBranch)
  .addOption(receiptsBranch)
  .action(run(async () => (await import('./commands/attach.ts')).attachCommand));

addCommand(
  program,
  'audit',
  'verify every signature and link; show who requested what, what was signed and what was refused',
)
  ?.option('-c, --config <file>', 'auditor.yaml, which says all of the following')
  .option('--repo <url>', 'control repository: a folder, which is only read, or a URL (default: ".")')
  .option(
    '--allowed-signers <file>',
    'who may sign requests, vouches and receipts (required without --config)',
  )
  .addOption(receiptSigners)
  .addOption(requestsBranch)
  .addOption(receiptsBranch)
  .option('--after <commit>', 'expect no answers to requests up to this commit (control.since)')
  .option('--html <out>', 'write one self-contained HTML page')
  .addOption(rewriteEvery)
  .option('--since <date>', 'show only requests answered since: 2026-01-31, "2026-01-31 09:30" (UTC), or 30d')
  .option('--name <glob>', 'show only requests that name such a file')
  .addOption(
    new Option('--outcome <outcome>', 'show only requests with this outcome').choices([
      'signed',
      'rejected',
      'failed',
      'waiting',
      'unproven',
    ]),
  )
  .option(
    '--revoked-at <time>',
    'list which signatures a revocation at this time would make invalid, and which stay valid thanks to their timestamp; "2026-01-31 09:30" is UTC',
  )
  .option('--certificate <sha256>', 'with --revoked-at: SHA-256 of the certificate, or its first digits')
  .addOption(json)
  .action(
    run(
      async () => (await import('./commands/audit.ts')).auditCommand,
      // A page that is written regularly is finished first.
      (options) => ('every' in options ? undefined : endWhenStopped()),
    ),
  );

addCommand(program, 'vouch <files...>', 'state in a signed commit that this builder got the same bytes')
  ?.addOption(config('voucher.yaml'))
  .option('--as <name>', 'name of the file in the request')
  .option('--no-pack', 'vouch for each file as it is, as submit --no-pack requests it')
  .addOption(json)
  .action(run(async () => (await import('./commands/vouch.ts')).vouchCommand));

addCommand(
  program,
  'status [repo]',
  'show the queue and what each request waits for, the newest outcomes, signers, certificates and alarms; redrawn on a terminal',
)
  ?.option(
    '-c, --config <file>',
    'signer.yaml, builder.yaml, voucher.yaml or auditor.yaml; or give a control repository',
  )
  .option('--allowed-signers <file>', 'of a control repository: who may sign requests, vouches and receipts')
  .addOption(receiptSigners)
  .addOption(requestsBranch)
  .addOption(receiptsBranch)
  .option('--after <commit>', 'expect no answers to requests up to this commit (control.since)')
  .option('--once', 'print it once, also on a terminal')
  .addOption(redrawEvery)
  .addOption(json)
  .action(run(async () => (await import('./commands/status.ts')).statusCommand));

addCommand(
  program,
  'explain <what>',
  'tell the story of a request, from asking to the answer, or what an error code means',
)
  ?.option('-c, --config <file>', 'signer.yaml, builder.yaml, voucher.yaml or auditor.yaml')
  .option('--repo <url>', 'instead of --config: control repository, a folder or a URL (default: ".")')
  .option('--allowed-signers <file>', 'with --repo: who may sign requests, vouches and receipts')
  .addOption(receiptSigners)
  .addOption(requestsBranch)
  .addOption(receiptsBranch)
  .addOption(json)
  .action(run(async () => (await import('./commands/explain.ts')).explainCommand));

addCommand(
  program,
  'doctor',
  'check every part of a signer, builder, voucher, auditor, courier or host; say what is wrong and how to mend it',
)
  ?.option('-c, --config <file>', 'signer.yaml, builder.yaml, voucher.yaml, auditor.yaml or courier.yaml')
  .option('--host <dir>', 'check this machine, which serves the control repository in the folder')
  .option('--exchange <dir>', 'with --host: the exchange (default: beside the repository)')
  .option(
    '--authorized-keys <file>',
    "with --host: the keys of the repository's account (default: where sshd looks)",
  )
  .option('--sshd-config <file>', "with --host: sshd's configuration (default: its own)")
  .addOption(json)
  .action(run(async () => (await import('./commands/doctor.ts')).doctorCommand));

addCommand(program, 'completion', 'print the completion script for a shell, which its start-up file reads')
  ?.addArgument(new Argument('<shell>').choices(['bash', 'zsh', 'fish']))
  .action(run(async () => (await import('./commands/completion.ts')).completionCommand));
