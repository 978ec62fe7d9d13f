/** The audit page in Chromium, in light and dark, with a history that was made for it and a fixed clock. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { auditPage } from '../../src/app/auditor/page.ts';
import { NO_HEALTH } from '../../src/app/auditor/signers-health.ts';
import { readAudit } from '../../src/app/auditor/audit-repository.ts';
import { ControlRepository } from '../../src/protocol/control/repository.ts';
import { AuditWorld } from '../app/auditor/sample-history.ts';
import { Chromium } from '../audit-page/chromium.ts';
import { signingSigner } from '../audit-page/sample-signers.ts';
import { StableText } from './stable-text.ts';

const NOW = new Date('2026-01-31T09:30:00Z').getTime();
const HOUR = 3_600_000;

/** A few days of a product's builds: most are signed, one is refused, one fails, two wait. */
async function fill(world: AuditWorld): Promise<string> {
  world.clock = NOW - 76 * HOUR;
  const programs = [await world.program('bin/tool.exe', new Date(NOW - 80 * HOUR))];
  for (let build = 1; build <= 22; build += 1) {
    world.clock += 3 * HOUR;
    const request = await world.request({ name: `product-4.${build}-windows64.zip` });
    const failed = build === 13;
    if (build === 9) await world.receipt(request);
    else if (failed)
      await world.receipt(request, {
        edit: (said) => ({
          ...said,
          outcome: 'failed',
          reason: { code: 'timestamp-unreachable', message: 'no timestamp authority answered' },
        }),
      });
    else await world.receipt(request, { programs });
  }
  world.clock = NOW - 4 * 60_000;
  const current = await world.request({ name: 'product-4.23-windows64.zip' });
  await world.request({ name: 'product-4.23-windows-arm64.zip' });
  await world.write();
  return current;
}

async function pageOf(world: AuditWorld): Promise<string> {
  const current = await fill(world);
  const repository = await ControlRepository.openExisting(world.gitDir);
  try {
    const at = new Date(NOW - 20_000);
    const audit = await readAudit(repository, { allowed: world.allowed(), now: at });
    const signer = signingSigner(NOW, current, {
      queue: 2,
      current: {
        request: current,
        stage: 'signing',
        since: new Date(NOW - 42_000).toISOString(),
        file: 'product-4.23-windows64.zip',
        done: 318,
        of: 1024,
      },
    });
    const next = new Date(NOW + 5 * 60_000).toISOString();
    const health = { ...NO_HEALTH, signers: [signer] };
    const page = { next, every: 60, trouble: null, health };
    const pieces = await auditPage(audit, {
      repository: 'ssh://git@build.example.org/srv/control.git',
      at,
      rows: audit.rows,
      revocation: null,
      page,
    });
    return [...pieces].join('');
  } finally {
    repository.close();
  }
}

/** Ids and fingerprints come from keys that were made for this run; they are replaced in the page's data only. */
function stablePage(html: string): string {
  const [, before = '', data = '', after = ''] =
    /^([^]*<script type="application\/json" id="data">)(.*?)(<\/script>[^]*)$/.exec(html) ?? [];
  const ids = new StableText(new Map());
  return before + ids.digests(data) + after;
}

export async function drawPages(into: string): Promise<void> {
  const world = await AuditWorld.create();
  const browser = await Chromium.start();
  try {
    const path = join(world.folder, 'page.html');
    await writeFile(path, stablePage(await pageOf(world)));
    await browser.send('Page.addScriptToEvaluateOnNewDocument', { source: `Date.now = () => ${NOW};` });
    for (const scheme of ['light', 'dark'] as const) {
      await browser.look(1120, 1064, scheme);
      await browser.open(`${pathToFileURL(path).href}?${scheme}`);
      await writeFile(join(into, `page-${scheme}.png`), await browser.picture());
    }
  } finally {
    await browser.close();
    await world.close();
  }
}
