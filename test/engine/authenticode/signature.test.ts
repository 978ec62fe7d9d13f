import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { context, type Der } from '../../../src/lib/asn1/der.ts';
import { explicit, implicit, octets, oid, seq, set, sorted, tlv } from '../../../src/lib/asn1/encode-der.ts';
import { OID } from '../../../src/lib/asn1/oids.ts';
import { addNested, parseSignature } from '../../../src/engine/authenticode/signature.ts';
import { readIndirectData } from '../../../src/engine/authenticode/indirect-data.ts';
import { signProgram } from '../../../src/engine/authenticode/sign.ts';
import { signatureFindings } from '../../../src/engine/authenticode/unauthenticated-data.ts';
import { attribute } from '../../../src/lib/cms/build-signed-data.ts';
import { signedDataFields } from '../../../src/lib/cms/signed-data.ts';
import { SignpipeError } from '../../../src/lib/errors.ts';
import { createTestPki, testSigningKey } from '../../../src/sandbox/certificates.ts';
import { buildPe } from '../../fixtures/pe.ts';
import { openBytes, OpensslTimestamper } from './tools.ts';

let signature: Buffer;
before(async () => {
  const pki = await createTestPki({ key: 'p256', intermediate: true });
  const options = {
    key: testSigningKey(pki.codeSigning),
    timestamper: new OpensslTimestamper(pki.timestamping),
    name: 'Program',
    url: 'https://example.org/',
  };
  const once = await signProgram(await openBytes(buildPe()), options);
  signature = addNested(once.signature, once.signature, 'it');
});

const DATA = Buffer.alloc(4);

const raws = (values: readonly Der[]): Buffer[] => values.map(({ raw }) => raw);

/** The signature rebuilt from other parts. */
function rebuilt(edit: (data: Buffer[], signer: Buffer[]) => readonly [Buffer[], Buffer[][]]): Buffer {
  const { type, data, signer } = signedDataFields(signature, 'it');
  const [newData, signers] = edit(raws(data), raws(signer));
  return seq(type.raw, explicit(0, seq(...newData, set(...signers.map((each) => seq(...each))))));
}

describe('an Authenticode signature', () => {
  it('is the same byte for byte once split and rebuilt', () => {
    assert.deepEqual(
      rebuilt((data, signer) => [data, [signer]]),
      signature,
    );
  });

  it('shows its description, its timestamp and its nested signatures', () => {
    const { description, timestamps, nested, certificate, signingTime } = parseSignature(signature, 'it');
    assert.deepEqual(description, { name: 'Program', url: 'https://example.org/' });
    assert.deepEqual([timestamps.length, nested.length, signingTime], [1, 1, undefined]);
    assert.equal(certificate?.commonName, 'Test publisher');
  });

  it('may name the program in ASCII, and link to a file rather than to an address', () => {
    const opus = attribute(
      OID.spcSpOpusInfo,
      seq(
        explicit(0, tlv(0x81, Buffer.from('ascii'))),
        explicit(1, explicit(2, tlv(0x81, Buffer.from('readme')))),
      ),
    );
    const other = rebuilt((data, signer) => [data, [signer.with(3, tlv(context(0), opus))]]);
    assert.deepEqual(parseSignature(other, 'it').description, { name: 'ascii', url: null });
  });

  it('gains a nested signature, and nothing else changes', () => {
    const twice = addNested(signature, Buffer.from(signature), 'it');
    const [was, is] = [signedDataFields(signature, 'it'), signedDataFields(twice, 'it')];
    assert.deepEqual(raws(is.data), raws(was.data));
    assert.deepEqual(raws(is.signer.slice(0, -1)), raws(was.signer.slice(0, -1)));
    assert.deepEqual(parseSignature(twice, 'it').timestamps, parseSignature(signature, 'it').timestamps);
    assert.equal(parseSignature(twice, 'it').nested.length, 2);
  });

  it('keeps its unsigned attributes in DER order, a short nested signature before a long timestamp', () => {
    const [stamped] = parseSignature(signature, 'it').nested;
    const short = addNested(stamped ?? assert.fail(), seq(octets(DATA)), 'it');
    const attributes = parseSignature(short, 'it').signer.unsignedAttributes.map(({ raw }) => raw);
    assert.equal(attributes.length, 2);
    assert.deepEqual(attributes, sorted(attributes));
  });

  it('authenticode-version: SignedData of version 2', () => {
    const other = rebuilt((data, signer) => [data.with(0, Buffer.from('020102', 'hex')), [signer]]);
    assert.throws(() => parseSignature(other, 'it'), { code: 'authenticode-version' });
  });

  it('authenticode-signers: two, or none', () => {
    const two = rebuilt((data, signer) => [data, [signer, signer]]);
    assert.throws(() => parseSignature(two, 'it'), { code: 'authenticode-signers' });
    const none = rebuilt((data) => [data, []]);
    assert.throws(() => parseSignature(none, 'it'), { code: 'authenticode-signers' });
  });

  it('authenticode-content: something else signed, or nothing', () => {
    const signing = (...content: Buffer[]): Buffer =>
      rebuilt((data, signer) => [data.with(2, seq(...content)), [signer]]);
    const data = parseSignature(signing(oid(OID.data), explicit(0, octets(DATA))), 'it');
    const refusal = { code: 'authenticode-content' };
    assert.throws(() => readIndirectData(data.content, 'it'), refusal);
    assert.throws(() => parseSignature(signing(oid(OID.spcIndirectData)), 'it'), refusal);
  });

  it('authenticode-nested: more nested signatures than permitted', () => {
    const many = Array.from({ length: 33 }, (_, index) => seq(octets(Buffer.from([index]))));
    const other = rebuilt((data, signer) => [
      data,
      [[...signer.slice(0, -1), implicit(1, set(attribute(OID.spcNestedSignature, ...many)))]],
    ]);
    assert.throws(() => parseSignature(other, 'it'), { code: 'authenticode-nested' });
  });

  it('is parsed or refused whichever byte is changed (every 20th is tried)', () => {
    let read = 0;
    const tried = Math.ceil(signature.length / 20);
    for (let at = 0; at < signature.length; at += 20) {
      const other = Buffer.from(signature);
      other[at] = (at * 167 + 13) & 0xff;
      try {
        signatureFindings(other, 'it');
        read++;
      } catch (error) {
        if (!(error instanceof SignpipeError)) throw error;
        assert.equal(error.kind, 'invalid');
      }
    }
    assert.ok(read > tried / 10 && read < tried, `${read} of ${tried} read`);
  });
});
