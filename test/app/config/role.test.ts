import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { loadAuditorConfig } from '../../../src/app/config/auditor.ts';
import { loadBuilderConfig, loadControlConfig, loadVoucherConfig } from '../../../src/app/config/builder.ts';
import { loadCourierConfig } from '../../../src/app/config/courier.ts';
import { roleOf } from '../../../src/app/config/role.ts';
import { loadSignerConfig } from '../../../src/app/config/signer.ts';
import { readYaml } from '../../../src/app/config/yaml.ts';
import { readSite } from '../../../src/app/overview/sources/site.ts';

const examples = resolve(import.meta.dirname, '../../../keys.example');
const ROLES = ['signer', 'builder', 'voucher', 'auditor', 'courier'] as const;
type Role = (typeof ROLES)[number];
type Load = (path: string) => Promise<unknown>;

/** What each command reads, and the roles whose configuration it takes. */
const LOADERS: [string, Load, Role[]][] = [
  ['watch', loadSignerConfig, ['signer']],
  ['submit', loadBuilderConfig, ['builder']],
  ['vouch', loadVoucherConfig, ['voucher', 'builder']],
  ['cancel', loadControlConfig, ['builder', 'voucher']],
  ['audit', loadAuditorConfig, ['auditor']],
  ['courier', loadCourierConfig, ['courier']],
  ['status', readSite, ['signer', 'builder', 'voucher', 'auditor']],
];

let folder = '';
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'signpipe-role-'));
});
after(() => rmSync(folder, { recursive: true, force: true }));

describe('the role of a configuration', () => {
  for (const role of ROLES)
    it(`is known by its sections: ${role}.yaml`, async () => {
      assert.equal(roleOf((await readYaml(join(examples, `${role}.yaml`))).document), role);
    });

  for (const [command, load, roles] of LOADERS)
    for (const role of ROLES) {
      const path = join(examples, `${role}.yaml`);
      if (roles.includes(role)) it(`${command} takes ${role}.yaml`, async () => void (await load(path)));
      else
        it(`config-role: ${command} with ${role}.yaml`, async () => {
          await assert.rejects(load(path), {
            code: 'config-role',
            kind: 'usage',
            message: new RegExp(
              `^\\S+${role}\\.yaml: is the configuration of an? ${role}, and that of an? \\w+`,
            ),
            hint: /^give \w+\.yaml.*signpipe init/,
          });
        });
    }

  it('config-role: the mistakes in it are listed too, since it may be a slip in the name of a section', async () => {
    const path = join(folder, 'slip.yaml');
    const text =
      'control: { url: /c }\nexchnage: { url: /e }\nrequests: { key: k }\ntrust: { allowedSigners: a }\n';
    writeFileSync(path, text);
    await assert.rejects(loadBuilderConfig(path), {
      code: 'config-role',
      message: /slip\.yaml:2:1: unknown key "exchnage"/,
    });
  });
});

describe('a folder in the place of a configuration', () => {
  it('config-not-a-file: the hint names the configurations in it', async () => {
    cpSync(join(examples, 'builder.yaml'), join(folder, 'builder.yaml'));
    await assert.rejects(loadBuilderConfig(folder), {
      code: 'config-not-a-file',
      hint: `give the file in it: ${join(folder, 'builder.yaml')}`,
    });
  });

  it('config-not-a-file: a folder without any, and a device', async () => {
    for (const path of [tmpdir(), '/dev/null'])
      await assert.rejects(loadSignerConfig(path), { code: 'config-not-a-file', hint: /DIR\/signer\.yaml/ });
  });
});
