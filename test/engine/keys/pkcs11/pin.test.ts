import { after, before, describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { inspect } from 'node:util';
import { createTestCertificate } from '../../../../src/sandbox/certificates.ts';
import { ModuleCallError } from '../../../../src/engine/keys/pkcs11/call-errors.ts';
import { checkPinState, tryPin } from '../../../../src/engine/keys/pkcs11/login.ts';
import { TOKEN_FLAG, type TokenInfo } from '../../../../src/engine/keys/pkcs11/module-calls.ts';
import { findModule } from '../../../../src/engine/keys/pkcs11/module-path.ts';
import { KeyUnavailable } from '../../../../src/engine/keys/signing-key.ts';
import { SignpipeError } from '../../../../src/lib/errors.ts';
import { until } from '../../../until.ts';
import { PIN, SoftHsm } from '../../../world/softhsm.ts';
import { refuses } from '../refusal.ts';
import { moduleProcesses, openUri, signs } from './token-world.ts';

/** Wrong, and marked: no error may show it. */
const WRONG_PIN = 'marked-wrong-2604';

let hsm: SoftHsm;
before(async () => {
  hsm = await SoftHsm.create();
  process.env['PKCS11SPY'] = hsm.module;
  process.env['PKCS11SPY_OUTPUT'] = hsm.at('spy.log');
  await writeFile(hsm.at('wrong'), `${WRONG_PIN}\n`, { mode: 0o600 });
});
after(() => hsm.remove());

/** A token of its own for a test, since wrong PINs leave traces, with a key and its certificate. */
async function token(name: string): Promise<{ readonly uri: (pin?: string) => string }> {
  const key = { token: name, label: 'codesign', id: '01', type: 'EC:secp256r1' };
  await hsm.addToken(name);
  await hsm.makeKey(key);
  await hsm.certify(key, {
    issuer: await createTestCertificate({ commonName: 'Root', purpose: 'authority' }),
  });
  const module = (await findModule('pkcs11-spy')) ?? '';
  const more = '&x-environment=PKCS11SPY,PKCS11SPY_OUTPUT';
  return {
    uri: (pin = 'pin') => hsm.uri(`token=${name};object=codesign`, { module, pin: hsm.at(pin), more }),
  };
}

/** How often the tokens were given a PIN since the last call. */
async function logins(): Promise<number> {
  const calls = await readFile(hsm.at('spy.log'), 'latin1').catch(() => '');
  await rm(hsm.at('spy.log'), { force: true });
  return calls.split(': C_Login\n').length - 1;
}

/** A token as a module describes it. */
const state = (given: Partial<TokenInfo>): TokenInfo => ({
  slot: Buffer.alloc(8),
  slotId: 0,
  slotDescription: '',
  slotManufacturer: '',
  label: 'release',
  manufacturer: '',
  model: '',
  serial: '1',
  flags: 0,
  maxSessions: undefined,
  ...given,
});

/** The URI without its PIN file. */
const withoutPin = (uri: string): string => uri.replace(/&pin-source=[^&]*/, '');

function showsNoPin(error: unknown): void {
  const text = inspect(error, { depth: 10 });
  for (const secret of [PIN, WRONG_PIN]) assert.ok(!text.includes(secret), 'the error shows the PIN');
}

describe('a wrong PIN', () => {
  it('pin-wrong: is tried once, also if the key is opened again', async () => {
    const { uri } = await token('once');
    await logins();
    for (let i = 0; i < 3; i += 1) {
      const error = await refuses('pin-wrong', () => openUri(uri('wrong')));
      showsNoPin(error);
      assert.equal(error.exitStatus, 2);
      assert.match(error.hint ?? '', /pin-source/);
    }
    assert.equal(await logins(), 1);
    await refuses('pin-wrong', () => openUri(uri()));
    assert.equal(await logins(), 0);
    await until('no process is left', () => moduleProcesses().length === 0);
  });

  it('pin-wrong: is tried once, also if several keys of the token are opened at the same time', async () => {
    const { uri } = await token('both');
    await logins();
    await Promise.all(
      [1, 2, 3].map(() => assert.rejects(openUri(uri('wrong')), { code: 'pin-wrong', kind: 'usage' })),
    );
    assert.equal(await logins(), 1);
  });

  it('pin-wrong: is tried once, also if the token is reached through another module', async () => {
    const { uri } = await token('proxied');
    await logins();
    await refuses('pin-wrong', () => openUri(uri('wrong')));
    const module = (await findModule('p11-kit-proxy')) ?? '';
    const proxied = hsm.uri('token=proxied;object=codesign', { module, pin: hsm.at('wrong') });
    await refuses('pin-wrong', () => openUri(proxied));
    await refuses('pin-wrong', () => openUri(hsm.uri('token=proxied', { pin: hsm.at('wrong') })));
  });

  it('pin-wrong: is tried once, also if several keys give it for each signature', async () => {
    const [given, always] = [{ pin: WRONG_PIN, attended: false }, state({ serial: 'always' })];
    let tries = 0;
    const call = async (): Promise<never> => {
      tries += 1;
      await sleep(20);
      throw new ModuleCallError('CKR_PIN_INCORRECT', 'refused');
    };
    await Promise.all([1, 2, 3].map(() => refuses('pin-wrong', () => tryPin(always, given, call))));
    assert.equal(tries, 1);
  });

  it('login-unfinished: is not known to be right, since the module crashed or hung in the login', async () => {
    const given = { pin: PIN, attended: false };
    for (const [n, error] of [
      new KeyUnavailable('token-process', 'm.so: the process with the PKCS#11 module ended: SIGSEGV'),
      new KeyUnavailable('token-hangs', 'm.so: the PKCS#11 module did not answer within 30 s'),
      new ModuleCallError('CKR_GENERAL_ERROR', 'm.so: the PKCS#11 module reports CKR_GENERAL_ERROR'),
    ].entries()) {
      const unfinished = state({ serial: `unfinished-${n}` });
      const refused = await refuses('login-unfinished', () =>
        tryPin(unfinished, given, () => Promise.reject(error)),
      );
      assert.equal(refused.exitStatus, 2, 'a service must not start again and try the PIN once more');
      assert.match(refused.message, /token release \(serial unfinished-\d\): .*m\.so/);
      await refuses('login-unfinished', () => tryPin(unfinished, given, () => assert.fail('a second try')));
    }
  });

  it('is known to be right if it was before: then a login that did not end is repeated', async () => {
    const [given, unfinished] = [{ pin: PIN, attended: false }, state({ serial: 'right' })];
    await tryPin(unfinished, given, () => Promise.resolve());
    const crash = new KeyUnavailable('token-process', 'ended');
    await assert.rejects(
      tryPin(unfinished, given, () => Promise.reject(crash)),
      crash,
    );
    await tryPin(unfinished, given, () => Promise.resolve());
  });

  it('pin-wrong: does not keep a key of the same token from signing whose PIN is right', async () => {
    const shared = state({ serial: 'shared' });
    const [right, wrong] = [PIN, WRONG_PIN].map((pin) => ({ pin, attended: false }));
    assert.ok(right && wrong);
    const tried: string[] = [];
    const attempt = (given: typeof right, rv?: string): Promise<void> =>
      tryPin(shared, given, () => {
        tried.push(given.pin);
        return rv === undefined ? Promise.resolve() : Promise.reject(new ModuleCallError(rv, 'refused'));
      });
    await attempt(right);
    await refuses('pin-wrong', () => attempt(wrong, 'CKR_PIN_INCORRECT'));
    await attempt(right);
    await refuses('pin-wrong', () => attempt(wrong));
    await refuses('pin-wrong', () => attempt(right, 'CKR_PIN_INCORRECT'));
    await refuses('pin-wrong', () => attempt(right));
    assert.deepEqual(tried, [PIN, WRONG_PIN, PIN, PIN]);
  });

  it('pin-count-low: is not tried by another process, until a person has logged in', async () => {
    const { uri } = await token('low');
    await assert.rejects(hsm.tool('low', '--list-objects', '--pin', WRONG_PIN));
    await logins();
    await refuses('pin-count-low', () => openUri(uri('wrong')));
    await refuses('pin-count-low', () => openUri(uri()));
    assert.equal(await logins(), 0);
    const ask = (): Promise<string> => Promise.resolve(PIN);
    const key = await openUri(withoutPin(uri()), undefined, { ask });
    await key.close();
    await (await openUri(uri())).close();
  });

  it('pin-wrong: after the token was lost, ends the request with what to do, and is tried once', async () => {
    const { uri } = await token('changed');
    await logins();
    const key = await openUri(uri());
    await hsm.tool('changed', '--change-pin', '--new-pin', '44556677');
    process.kill(moduleProcesses()[0]?.pid ?? 0, 'SIGKILL');
    for (let i = 0; i < 2; i += 1)
      await assert.rejects(signs(key), (error: unknown) => {
        assert.ok(error instanceof SignpipeError);
        showsNoPin(error);
        assert.deepEqual([error.code, error.kind], ['pin-wrong', 'local']);
        assert.match(error.hint ?? '', /--login --list-objects.*restarted/);
        return true;
      });
    assert.equal(await logins(), 2);
    await key.close();
  });
});

describe('a PIN', () => {
  it('is asked for if the URI names no file, once for all signatures, also if the token is lost meanwhile', async () => {
    const { uri } = await token('asking');
    await logins();
    const asked: string[] = [];
    const ask = (what: string, secret?: string): Promise<string> => {
      asked.push(`${secret ?? ''} for ${what}`);
      return Promise.resolve(PIN);
    };
    const key = await openUri(withoutPin(uri()), undefined, { ask });
    for (let i = 0; i < 5; i += 1) await signs(key);
    assert.equal(await logins(), 1);
    process.kill(moduleProcesses()[0]?.pid ?? 0, 'SIGKILL');
    await signs(key);
    assert.equal(await logins(), 1);
    assert.match(asked.join('|'), /^PIN for token asking \(serial [\da-f]{16}\)$/);
    await key.close();
  });

  it('pin-missing: neither a file nor a person', async () => {
    await refuses('pin-missing', () => openUri(withoutPin(hsm.uri('token=release'))));
  });

  it('passphrase-file: its file is empty', async () => {
    await writeFile(hsm.at('empty'), '\n', { mode: 0o600 });
    await refuses('passphrase-file', () => openUri(hsm.uri('token=release', { pin: hsm.at('empty') })));
  });
});

describe('the state of the PIN that a token reports', () => {
  const flagged = (...flags: (keyof typeof TOKEN_FLAG)[]): TokenInfo =>
    state({ flags: flags.reduce((sum, flag) => sum | TOKEN_FLAG[flag], 0) });

  it('is explained with a command that resets it', () => {
    const hintFor = (token: TokenInfo, command: string): void =>
      assert.throws(
        () => checkPinState(token, false),
        ({ hint }: SignpipeError) => hint?.endsWith(command) === true,
      );
    const low = flagged('userPinCountLow');
    const tool = 'pkcs11-tool --module MODULE';
    hintFor({ ...low, label: 'my token' }, `${tool} --token-label 'my token' --login --list-objects`);
    hintFor({ ...low, label: `it's` }, `${tool} --login --list-objects`);
  });

  it('pin-locked: with a person, too', async () => {
    for (const attended of [true, false])
      await refuses('pin-locked', () => checkPinState(flagged('userPinLocked', 'userPinFinalTry'), attended));
  });

  it('pin-final-try, pin-count-low: without a person', async () => {
    await refuses('pin-final-try', () => checkPinState(flagged('userPinFinalTry', 'userPinCountLow'), false));
    await refuses('pin-count-low', () => checkPinState(flagged('userPinCountLow'), false));
    checkPinState(flagged('userPinFinalTry', 'userPinCountLow'), true);
    checkPinState(flagged('loginRequired', 'userPinInitialized'), false);
  });
});
