import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { context, contextPrimitive, TAG } from '../../../src/lib/asn1/der.ts';
import { integer, octets, oid, seq, set, tlv, utf8 } from '../../../src/lib/asn1/encode-der.ts';
import { OID } from '../../../src/lib/asn1/oids.ts';
import { SignpipeError } from '../../../src/lib/errors.ts';
import { buildChain } from '../../../src/lib/x509/chain.ts';
import {
  makeAuthority,
  makeCertificate,
  makeCodeSigner,
  makeTimestamper,
  newKey,
  pem,
  type KeyPair,
  type Made,
  type Recipe,
} from './certificate-maker.ts';

const printableString = (text: string): Buffer => tlv(TAG.printableString, Buffer.from(text, 'latin1'));

const folder = mkdtempSync(join(tmpdir(), 'chain-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const NOW = new Date();
const DAY = 24 * 3600 * 1000;
const days = (n: number): Date => new Date(NOW.getTime() + n * DAY);

interface Case {
  readonly leaf: Made;
  readonly intermediates?: readonly Made[];
  readonly roots: readonly Made[];
  readonly at?: Date;
  readonly usage?: string;
}

const build = ({ leaf, intermediates = [], roots, at = NOW, usage = OID.codeSigning }: Case): string[] =>
  buildChain(leaf.certificate, {
    intermediates: intermediates.map(({ certificate }) => certificate),
    roots: roots.map(({ certificate }) => certificate),
    at,
    usage,
  }).map(({ commonName }) => commonName);

/**
 * OpenSSL's verdict on the same chain. OpenSSL 3.0 knows a time-stamping purpose but no code-signing
 * one, so a code-signing chain is judged without its purpose there.
 */
function opensslAccepts({ leaf, intermediates = [], roots, at = NOW, usage }: Case): boolean {
  const purpose = usage === OID.timeStamping ? 'timestampsign' : 'any';
  const seconds = String(Math.floor(at.getTime() / 1000));
  const args = ['verify', '-no-CApath', '-no-CAstore', '-partial_chain', '-auth_level', '2'];
  args.push('-purpose', purpose, '-attime', seconds);
  args.push(...(roots.length > 0 ? ['-CAfile', pemFile('roots.pem', roots)] : ['-no-CAfile']));
  if (intermediates.length > 0) args.push('-untrusted', pemFile('untrusted.pem', intermediates));
  const { status, stderr } = spawnSync('openssl', [...args, pemFile('leaf.pem', [leaf])], {
    encoding: 'utf8',
  });
  assert.ok(status === 0 || /error \d+ at/.test(stderr), stderr);
  return status === 0;
}

function pemFile(name: string, certificates: readonly Made[]): string {
  writeFileSync(join(folder, name), certificates.map(pem).join(''));
  return join(folder, name);
}

/** The names in the chains of `three`. */
const WHOLE = ['Leaf', 'Middle', 'Root'];

/** `openssl` is OpenSSL's verdict. */
function accepts(name: string, make: () => Case, expected = WHOLE, openssl = true): void {
  it(`accepts ${name}`, () => {
    const chain = make();
    assert.deepEqual(build(chain), expected);
    assert.equal(opensslAccepts(chain), openssl);
  });
}

/** Refuses what OpenSSL accepts. */
const refusesMore = (name: string, code: string, make: () => Case): void => refuses(name, code, make, true);

/** `openssl` is OpenSSL's verdict. */
function refuses(name: string, code: string, make: () => Case, openssl = false): void {
  it(`${code}: ${name}`, () => {
    const chain = make();
    assert.throws(
      () => build(chain),
      (error) => error instanceof SignpipeError && error.kind === 'invalid' && error.code === code,
    );
    assert.equal(opensslAccepts(chain), openssl);
  });
}

/** Root, intermediate and leaf, each with what the recipe changes. */
function three({
  root: rootRecipe = {},
  middle: middleRecipe = {},
  leaf: leafRecipe = {},
}: { root?: Partial<Recipe>; middle?: Partial<Recipe>; leaf?: Partial<Recipe> } = {}): Case {
  const root = makeAuthority({ name: 'Root', ...rootRecipe });
  const middle = makeAuthority({ name: 'Middle', by: root, ...middleRecipe });
  const leaf = makeCodeSigner({ name: 'Leaf', by: middle, ...leafRecipe });
  return { leaf, intermediates: [middle], roots: [root] };
}

/** A chain of `count` certificates, named by height. */
function tower(count: number): Case {
  const authorities = [makeAuthority({ name: `Level ${count}` })];
  for (let height = count - 1; height > 1; height -= 1) {
    const by = authorities[authorities.length - 1];
    authorities.push(makeAuthority({ name: `Level ${height}`, ...(by && { by }) }));
  }
  const [root, ...rest] = authorities;
  const lowest = authorities[authorities.length - 1];
  assert.ok(root && lowest);
  return { leaf: makeCodeSigner({ name: 'Level 1', by: lowest }), intermediates: rest, roots: [root] };
}

describe('a valid chain', () => {
  accepts('leaf, intermediate and root', () => three());
  accepts('intermediates in any order, with unrelated ones and duplicates among them', () => {
    const chain = three();
    const stranger = makeAuthority({ name: 'Stranger' });
    return { ...chain, intermediates: [stranger, ...(chain.intermediates ?? []), chain.leaf, stranger] };
  });
  accepts(
    'a self-signed leaf that is itself a root',
    () => {
      const leaf = makeCodeSigner({ name: 'Self' });
      return { leaf, roots: [leaf] };
    },
    ['Self'],
  );
  accepts(
    'an intermediate trusted as a root, without the root above it',
    () => {
      const chain = three();
      return { ...chain, roots: chain.intermediates ?? [] };
    },
    ['Leaf', 'Middle'],
  );
  accepts('the longest permitted path', () =>
    three({ root: { authority: { pathLength: 1 } }, middle: { authority: { pathLength: 0 } } }),
  );
  accepts('authorities that list the purpose', () =>
    three({ middle: { purposes: [OID.codeSigning, OID.timeStamping] } }),
  );
  accepts('an authority for any purpose', () => three({ middle: { purposes: [OID.anyExtendedKeyUsage] } }));
  accepts('a root of X.509 version 1, which cannot state that it is an authority', () =>
    three({ root: { version1: true } }),
  );
  accepts('a root that signed itself with SHA-1', () => three({ root: { hash: 'sha1' } }));
  accepts('a chain that has expired now, at a time when it was valid', () => {
    const until = days(-10);
    return { ...three({ leaf: { from: days(-20), until } }), at: days(-15) };
  });
  accepts(
    'the last second of validity',
    () => {
      const until = new Date(Math.floor(NOW.getTime() / 1000) * 1000);
      return { ...three({ leaf: { until } }), at: until };
    },
    WHOLE,
    // RFC 5280 section 4.1.2.5 includes notAfter; OpenSSL calls that second expired.
    false,
  );
  accepts(
    'ten certificates',
    () => tower(10),
    Array.from({ length: 10 }, (_, at) => `Level ${at + 1}`),
  );
  accepts('critical policies and a critical alternative name', () =>
    three({
      leaf: {
        extensions: [
          { oid: OID.certificatePolicies, critical: true, value: seq(seq(Buffer.from([6, 1, 42]))) },
          { oid: '2.5.29.17', critical: true, value: seq(Buffer.from([0x82, 1, 0x61])) },
        ],
      },
    }),
  );
  accepts(
    'a time-stamping chain',
    () => {
      const root = makeAuthority({ name: 'Root' });
      return { leaf: makeTimestamper({ name: 'TSA', by: root }), roots: [root], usage: OID.timeStamping };
    },
    ['TSA', 'Root'],
  );
});

/** One authority with two certificates: from the old root, and from the new one. */
function crossed(oldMiddle: Partial<Recipe> = {}, newMiddle: Partial<Recipe> = {}): Case & { both: Made[] } {
  const [oldRoot, newRoot] = [makeAuthority({ name: 'Old root' }), makeAuthority({ name: 'New root' })];
  const key = newKey();
  const fromOld = makeAuthority({ name: 'Middle', key, by: oldRoot, ...oldMiddle });
  const fromNew = makeAuthority({ name: 'Middle', key, by: newRoot, ...newMiddle });
  const leaf = makeCodeSigner({ name: 'Leaf', by: fromOld });
  return { leaf, intermediates: [fromOld, fromNew], roots: [newRoot], both: [oldRoot, newRoot] };
}

describe('several paths', () => {
  accepts(
    'the cross-certificate that leads to the trusted root',
    () => crossed(),
    ['Leaf', 'Middle', 'New root'],
    // OpenSSL follows the first intermediate and does not try the other.
    false,
  );
  accepts(
    'the path that is valid when the first one has expired',
    () => {
      const chain = crossed({ until: days(-1) });
      return { ...chain, roots: chain.both };
    },
    ['Leaf', 'Middle', 'New root'],
  );
  it('finds the issuer by its key if two authorities have the same name', () => {
    const [right, wrong] = [makeAuthority({ name: 'Root' }), makeAuthority({ name: 'Root' })];
    const leaf = makeCodeSigner({ name: 'Leaf', by: right });
    assert.deepEqual(build({ leaf, roots: [wrong, right] }), ['Leaf', 'Root']);
  });
  it('does not loop if two authorities certify each other', () => {
    const [one, two] = [makeAuthority({ name: 'One' }), makeAuthority({ name: 'Two' })];
    const intermediates = [
      makeAuthority({ name: 'One', key: one.key, by: two }),
      makeAuthority({ name: 'Two', key: two.key, by: one }),
    ];
    const leaf = makeCodeSigner({ name: 'Leaf', by: one });
    const roots = [makeAuthority({ name: 'Elsewhere' })];
    assert.throws(() => build({ leaf, intermediates, roots }), { code: 'certificate-chain-incomplete' });
  });
  it('ends the search of a maze of cross-certified authorities in bounded time', () => {
    const keys = Array.from({ length: 9 }, () => newKey());
    const names = keys.map((_, at) => `Maze ${at}`);
    const holders = keys.map((key, at) => makeAuthority({ name: names[at] ?? '', key }));
    const intermediates = holders.flatMap((by) =>
      holders.filter((other) => other !== by).map(({ name, key }) => makeAuthority({ name, key, by })),
    );
    const [lowest] = holders;
    assert.ok(lowest);
    const leaf = makeCodeSigner({ name: 'Leaf', by: lowest });
    const start = performance.now();
    assert.throws(() => build({ leaf, intermediates, roots: [makeAuthority({ name: 'Elsewhere' })] }), {
      code: 'certificate-chain-too-long',
    });
    assert.ok(performance.now() - start < 2000);
  });
});

describe('a chain that is refused', () => {
  refuses('the intermediate is missing', 'certificate-chain-incomplete', () => ({
    ...three(),
    intermediates: [],
  }));
  refuses('no root at all', 'certificate-chain-incomplete', () => ({ ...three(), roots: [] }));
  refuses('a root that is not trusted', 'certificate-chain-untrusted-root', () => {
    const chain = three();
    return {
      ...chain,
      intermediates: [...(chain.intermediates ?? []), ...chain.roots],
      roots: [makeAuthority({ name: 'Other root' })],
    };
  });
  refuses('a self-signed leaf that is not a root', 'certificate-chain-untrusted-root', () => ({
    leaf: makeCodeSigner({ name: 'Self' }),
    roots: [makeAuthority({ name: 'Root' })],
  }));
  refuses("a root with the trusted one's name and another key", 'certificate-chain-signature', () => ({
    ...three(),
    roots: [makeAuthority({ name: 'Root' })],
  }));
  refuses('a leaf that the issuer it names did not sign', 'certificate-chain-signature', () => {
    const root = makeAuthority({ name: 'Root' });
    const impostor = makeAuthority({ name: 'Root' });
    return { leaf: makeCodeSigner({ name: 'Leaf', by: impostor }), roots: [root] };
  });
  refusesMore('eleven certificates', 'certificate-chain-too-long', () => tower(11));
  refuses('an expired leaf', 'certificate-chain-expired', () =>
    three({ leaf: { from: days(-20), until: days(-1) } }),
  );
  refuses('an expired intermediate', 'certificate-chain-expired', () =>
    three({ middle: { from: days(-20), until: days(-1) } }),
  );
  refuses('an expired root', 'certificate-chain-expired', () =>
    three({ root: { from: days(-20), until: days(-1) } }),
  );
  refuses('a leaf that is not valid yet', 'certificate-chain-not-yet-valid', () =>
    three({ leaf: { from: days(1) } }),
  );
  refuses('a leaf as issuer', 'certificate-chain-not-a-ca', () => {
    const root = makeAuthority({ name: 'Root' });
    const middle = makeCodeSigner({ name: 'Middle', by: root });
    return { leaf: makeCodeSigner({ name: 'Leaf', by: middle }), intermediates: [middle], roots: [root] };
  });
  refuses('an intermediate without basicConstraints', 'certificate-chain-not-a-ca', () => {
    const root = makeAuthority({ name: 'Root' });
    const middle = makeCertificate({ name: 'Middle', by: root });
    return { leaf: makeCodeSigner({ name: 'Leaf', by: middle }), intermediates: [middle], roots: [root] };
  });
  refuses('an intermediate of X.509 version 1', 'certificate-chain-not-a-ca', () =>
    three({ middle: { version1: true } }),
  );
  refuses('an authority whose key may not sign certificates', 'certificate-chain-not-a-ca', () =>
    three({ middle: { usage: ['cRLSign'] } }),
  );
  refuses('more authorities than a path length permits', 'certificate-chain-path-length', () =>
    three({ root: { authority: { pathLength: 0 } } }),
  );
  refusesMore('a leaf without the purpose', 'certificate-chain-usage', () =>
    three({ leaf: { purposes: ['1.3.6.1.5.5.7.3.1'] } }),
  );
  refusesMore('a leaf that names no purpose', 'certificate-chain-usage', () => {
    const root = makeAuthority({ name: 'Root' });
    return { leaf: makeCertificate({ name: 'Leaf', by: root, usage: ['digitalSignature'] }), roots: [root] };
  });
  refusesMore('a leaf for any purpose only', 'certificate-chain-usage', () =>
    three({ leaf: { purposes: [OID.anyExtendedKeyUsage] } }),
  );
  refusesMore('a leaf whose key may not sign', 'certificate-chain-usage', () =>
    three({ leaf: { usage: ['keyEncipherment'] } }),
  );
  refusesMore('an authority for other purposes', 'certificate-chain-usage', () =>
    three({ middle: { purposes: [OID.timeStamping] } }),
  );
  refuses('a code-signing certificate as time-stamper', 'certificate-chain-usage', () => ({
    ...three(),
    usage: OID.timeStamping,
  }));
  refuses('an unknown critical extension', 'certificate-chain-critical-extension', () =>
    three({ leaf: { extensions: [{ oid: '2.25.42', critical: true, value: octets(Buffer.alloc(1)) }] } }),
  );
  refuses('an intermediate signed with SHA-1', 'certificate-chain-weak', () =>
    three({ middle: { hash: 'sha1' } }),
  );
  refuses('an RSA key of 1024 bits', 'certificate-chain-weak', () =>
    three({ leaf: { key: generateKeyPairSync('rsa', { modulusLength: 1024 }) } }),
  );
});

describe('elliptic-curve keys', () => {
  const on = (namedCurve: string, paramEncoding: 'named' | 'explicit' = 'named'): KeyPair =>
    generateKeyPairSync('ec', { namedCurve, paramEncoding });
  for (const curve of ['prime256v1', 'secp256k1', 'secp384r1', 'secp521r1', 'brainpoolP256r1'])
    accepts(`a key on the curve ${curve}`, () => three({ leaf: { key: on(curve) } }));
  for (const curve of ['secp112r1', 'secp160r1', 'prime192v1', 'secp224r1', 'sect113r1'])
    refuses(
      `a leaf on the curve ${curve}`,
      'certificate-chain-weak',
      () => three({ leaf: { key: on(curve) } }),
      curve === 'secp224r1',
    );
  refuses('an intermediate on the curve secp112r1', 'certificate-chain-weak', () =>
    three({ middle: { key: on('secp112r1') } }),
  );
  refuses('a root on the curve secp112r1', 'certificate-chain-weak', () =>
    three({ root: { key: on('secp112r1') } }),
  );
  for (const place of ['leaf', 'middle', 'root'] as const)
    refuses(
      `the ${place}'s curve with explicit parameters, even if it is P-256`,
      'certificate-chain-weak',
      () => three({ [place]: { key: on('prime256v1', 'explicit') } }),
    );
});

const directoryName = (...parts: readonly Buffer[]): Buffer => tlv(context(4), seq(...parts));
const commonName = (text: Buffer): Buffer => set(seq(oid('2.5.4.3'), text));
const organisation = (text: Buffer): Buffer => set(seq(oid('2.5.4.10'), text));
const dnsName = (text: string): Buffer => tlv(contextPrimitive(2), Buffer.from(text));
const mailbox = (text: string): Buffer => tlv(contextPrimitive(1), Buffer.from(text));
const uri = (text: string): Buffer => tlv(contextPrimitive(6), Buffer.from(text));
const address = (...bytes: readonly number[]): Buffer => tlv(contextPrimitive(7), Buffer.from(bytes));

/** A chain whose `place` has name constraints, for a leaf with these alternative names. */
function constrained(
  {
    permitted,
    excluded,
    critical = false,
    place = 'middle',
  }: {
    permitted?: readonly Buffer[];
    excluded?: readonly Buffer[];
    critical?: boolean;
    place?: 'root' | 'middle';
  },
  leafNames: readonly Buffer[] = [],
): Case {
  const value = seq(
    ...(permitted ? [tlv(context(0), ...permitted.map((base) => seq(base)))] : []),
    ...(excluded ? [tlv(context(1), ...excluded.map((base) => seq(base)))] : []),
  );
  const names = { oid: '2.5.29.17', critical: false, value: seq(...leafNames) };
  return three({
    [place]: { extensions: [{ oid: OID.nameConstraints, critical, value }] },
    ...(leafNames.length > 0 && { leaf: { extensions: [names] } }),
  });
}

describe('name constraints, critical or not', () => {
  const elsewhere = directoryName(organisation(utf8('Somebody Else')));
  for (const critical of [true, false]) {
    refuses('a leaf outside the only permitted names', 'certificate-chain-constraints', () =>
      constrained({ permitted: [elsewhere], critical }),
    );
    refuses('a leaf among the excluded names', 'certificate-chain-constraints', () =>
      constrained({ excluded: [directoryName(commonName(utf8('Leaf')))], critical }),
    );
    accepts('a leaf among the permitted names, in another string type and other case', () =>
      constrained({ permitted: [elsewhere, directoryName(commonName(printableString(' LEAF ')))], critical }),
    );
    accepts('a leaf outside the excluded names', () => constrained({ excluded: [elsewhere], critical }));
    accepts('constraints on a form of name that the leaf does not have', () =>
      constrained({ permitted: [dnsName('example.org')], critical }),
    );
  }
  refuses('an excluded name in other case', 'certificate-chain-constraints', () =>
    constrained({ excluded: [directoryName(commonName(printableString('lEAF')))] }),
  );
  refuses('constraints of the root', 'certificate-chain-constraints', () =>
    constrained({ permitted: [elsewhere], place: 'root' }),
  );
  refuses('an intermediate outside the permitted names', 'certificate-chain-constraints', () =>
    constrained({ permitted: [directoryName(commonName(utf8('Leaf')))], place: 'root' }),
  );
  for (const [name, base] of [
    ['a.example.org', 'example.org'],
    ['example.org', 'EXAMPLE.org'],
    ['a.b.example.org', '.example.org'],
  ] as const)
    accepts(`${name}, which ${base} permits`, () =>
      constrained({ permitted: [dnsName(base)] }, [dnsName(name)]),
    );
  for (const [name, base] of [
    ['example.com', 'example.org'],
    ['badexample.org', 'example.org'],
    ['example.org.evil.com', 'example.org'],
    ['example.org', '.example.org'],
  ] as const)
    refuses(`${name}, which ${base} does not permit`, 'certificate-chain-constraints', () =>
      constrained({ permitted: [dnsName(base)] }, [dnsName(name)]),
    );
  for (const [name, base] of [
    ['a@example.org', 'a@EXAMPLE.org'],
    ['a@example.org', 'example.org'],
    ['a@b.example.org', '.example.org'],
  ] as const)
    accepts(`${name}, which ${base} permits`, () =>
      constrained({ permitted: [mailbox(base)] }, [mailbox(name)]),
    );
  for (const [name, base] of [
    ['b@example.org', 'a@example.org'],
    ['a@b.example.org', 'example.org'],
    ['a@example.org', '.example.org'],
    ['a@badexample.org', '.example.org'],
  ] as const)
    refuses(`${name}, which ${base} does not permit`, 'certificate-chain-constraints', () =>
      constrained({ permitted: [mailbox(base)] }, [mailbox(name)]),
    );
  const subnet = address(10, 0, 0, 0, 255, 0, 0, 0);
  accepts('an address of the permitted network', () =>
    constrained({ permitted: [subnet] }, [address(10, 1, 2, 3)]),
  );
  refuses('an address of another network', 'certificate-chain-constraints', () =>
    constrained({ permitted: [subnet] }, [address(11, 1, 2, 3)]),
  );
  accepts('what step-ca makes: a host name, and all addresses excluded', () =>
    constrained({ permitted: [dnsName('example.org')], excluded: [address(...Array<number>(8).fill(0))] }, [
      dnsName('signer.example.org'),
    ]),
  );
  refuses('an excluded host name', 'certificate-chain-constraints', () =>
    constrained({ excluded: [dnsName('example.org')] }, [dnsName('a.example.org')]),
  );
  refuses('an excluded address', 'certificate-chain-constraints', () =>
    constrained({ excluded: [subnet] }, [address(10, 1, 2, 3)]),
  );
  refusesMore(
    'a host name that cannot be compared, though it may not be excluded',
    'certificate-chain-constraints',
    () => constrained({ excluded: [dnsName('example.org')] }, [dnsName('*.example.com.')]),
  );
  refusesMore(
    'a form of name that is not compared here, even if it is permitted',
    'certificate-chain-constraints',
    () => constrained({ permitted: [uri('.example.org')] }, [uri('https://a.example.org/')]),
  );
  refuses('an alternative directory name outside the permitted names', 'certificate-chain-constraints', () =>
    constrained({ permitted: [directoryName(commonName(utf8('Leaf')))] }, [elsewhere]),
  );
  refuses('constraints that cannot be read', 'certificate-chain-constraints', () =>
    three({
      middle: { extensions: [{ oid: OID.nameConstraints, critical: false, value: octets(Buffer.alloc(3)) }] },
    }),
  );
});

describe('policy constraints', () => {
  const requireExplicitPolicy = seq(tlv(contextPrimitive(0), Buffer.of(0)));
  for (const [name, oid, value] of [
    ['policyConstraints', '2.5.29.36', requireExplicitPolicy],
    ['inhibitAnyPolicy', '2.5.29.54', integer(0)],
  ] as const) {
    refusesMore(
      `${name}, not critical: OpenSSL looks at it only if policies are asked for`,
      'certificate-chain-constraints',
      () => three({ middle: { extensions: [{ oid, critical: false, value }] } }),
    );
    refusesMore(`${name}, critical`, 'certificate-chain-critical-extension', () =>
      three({ middle: { extensions: [{ oid, critical: true, value }] } }),
    );
  }
});
