import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { lastCertificate } from '../../../../src/app/site/doctor/check-key-history.ts';
import { ControlRepository } from '../../../../src/protocol/control/repository.ts';
import { AuditWorld } from '../../auditor/sample-history.ts';

describe('the certificate of the newest receipt', () => {
  let world: AuditWorld;
  let repository: ControlRepository;
  before(async () => {
    world = await AuditWorld.create();
    const programs = [await world.program('tool.exe', new Date('2026-01-05T08:00:00Z'))];
    await world.receipt(await world.request({ name: 'signed.zip' }), { programs });
    await world.receipt(await world.request({ name: 'refused.zip' }), {});
    await world.write();
    repository = await ControlRepository.openExisting(world.gitDir);
  });
  after(async () => {
    repository.close();
    await world.close();
  });

  it('is read from the signature, also if later receipts are refusals', async () => {
    const { certificate } = world.publisher;
    const found = await lastCertificate(repository, certificate.subject);
    assert.deepEqual(found?.publicKeyDer, certificate.publicKeyDer);
  });

  it('is none under another subject', async () =>
    assert.equal(await lastCertificate(repository, 'CN=Another'), null));
});
