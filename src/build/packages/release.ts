/**
 * What `npm run release -- --ssh KEY --minisign KEY FOLDER` runs: makes the packages of the commit that is checked out,
 * their provenance, and `SHA256SUMS` with its signatures, in a new or empty folder. At least one key is needed;
 * `--minisign-passphrase-file` names the file with the passphrase of a minisign key.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { SIGNATURE_SUFFIXES } from '../../engine/checksums/checksum-key.ts';
import { openChecksumKeys, type ChecksumKeySettings } from '../../engine/checksums/open-checksum-keys.ts';
import { sha256OfFile } from '../../lib/bytes/hash.ts';
import { sha256Sums, type NamedDigest } from '../../lib/sha256sums.ts';
import { loadSshSigner } from '../../lib/sshsig/ssh-signer.ts';
import { VERSION } from '../../lib/version.ts';
import { signedProvenance } from './build-provenance.ts';
import { makePackages } from './package.ts';
import { releaseSource } from './release-source.ts';

const root = resolve(import.meta.dirname, '../../..');
const warn = (message: string): void => console.error(`warning: ${message}`);

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    ssh: { type: 'string' },
    minisign: { type: 'string' },
    'minisign-passphrase-file': { type: 'string' },
  },
});

const keys: ChecksumKeySettings = {
  ssh: values.ssh === undefined ? undefined : { key: resolve(values.ssh) },
  minisign:
    values.minisign === undefined
      ? undefined
      : { key: resolve(values.minisign), passphraseFile: values['minisign-passphrase-file'] },
};

const digestsOf = (folder: string, names: readonly string[]): Promise<NamedDigest[]> =>
  Promise.all(names.map(async (name) => ({ name, sha256: await sha256OfFile(join(folder, name)) })));

/** Signs the list of digests with every key; each signature is verified before it is written. */
async function writeSums(folder: string, names: readonly string[]): Promise<void> {
  const sums = Buffer.from(sha256Sums(await digestsOf(folder, names)));
  await writeFile(join(folder, 'SHA256SUMS'), sums);
  for (const key of await openChecksumKeys(keys, { warn, now: new Date() })) {
    const name = `SHA256SUMS${SIGNATURE_SUFFIXES[key.kind]}`;
    await writeFile(join(folder, name), await key.sign(sums, 'SHA256SUMS'));
    console.log(`${name}: ${key.kind} key ${key.id}`);
  }
}

async function main(): Promise<void> {
  if (values.ssh === undefined && values.minisign === undefined)
    throw new Error('name a key: --ssh KEY, --minisign KEY, or both');
  // Before minutes of building: a key that cannot be opened ends the release here.
  await openChecksumKeys(keys, { warn, now: new Date() });
  const folder = resolve(positionals[0] ?? join(root, 'release'));
  if ((await releaseSource(root)).dirty)
    throw new Error('files differ from the commit: a release is made of a commit alone');
  const { names, source } = await makePackages(folder);
  if (values.ssh !== undefined) {
    const provenance = `signpipe-${VERSION}.intoto.jsonl`;
    const facts = { root, source, version: VERSION };
    const signer = await loadSshSigner(resolve(values.ssh), {});
    await writeFile(
      join(folder, provenance),
      await signedProvenance(await digestsOf(folder, names), facts, signer),
    );
    names.push(provenance);
  }
  await writeSums(folder, names);
  const changelog = await readFile(join(root, 'CHANGELOG.md'), 'utf8');
  if (!changelog.includes(`\n## ${VERSION}`)) warn(`CHANGELOG.md has no section "## ${VERSION}"`);
}

await main();
