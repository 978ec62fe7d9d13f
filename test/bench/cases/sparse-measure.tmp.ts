import { readFile, appendFile, copyFile, stat, rm } from 'node:fs/promises';
import { World } from '../../world/site.ts';
import { Line } from '../line.ts';
import { sha256OfFile } from '../../../src/io/hash.ts';
const zip = process.argv[2] ?? '';
const ours = (process.argv[3] ?? '').split(',');
const world = await World.start();
const line = await Line.open({ port: world.sshd.port, rate: 100e6, roundTrip: 20 });
try {
  const known = await readFile(world.at('keys', 'known_hosts'), 'utf8');
  await appendFile(
    world.at('keys', 'known_hosts'),
    known.replaceAll(`]:${world.sshd.port}`, `]:${line.port}`),
  );
  await world.reconfigure((t) =>
    t
      .replaceAll(`127.0.0.1:${world.sshd.port}`, `127.0.0.1:${line.port}`)
      .replace(/^signing:\n(?:\s+files:.*\n)?/m, `signing:\n  files: ${JSON.stringify(ours)}\n`),
  );
  await copyFile(zip, world.at('product.zip'));
  const flags = ours.flatMap((o) => ['--files', o]);
  await world.submit([world.at('product.zip')], '--sparse', ...flags);
  const once = async (): Promise<void> => {
    const b = { ...line.passed };
    const t = performance.now();
    await world.poll();
    const s = (performance.now() - t) / 1000;
    const r = (await world.receipt()) as any;
    console.log(
      r.outcome,
      r.reason?.message ?? '',
      r.files[0]?.seen,
      s.toFixed(2) + ' s',
      'down',
      line.passed.back - b.back,
      'up',
      line.passed.there - b.there,
      JSON.stringify(r.times),
    );
    console.log(
      await sha256OfFile(world.exchange('signed', 'product.zip')),
      (await stat(world.exchange('signed', 'product.zip'))).size,
    );
    console.log(
      world.logged
        .slice(-7)
        .map((l: any) => `${l.time} ${l.msg}`)
        .join('\n'),
    );
  };
  await once();
  await world.submit([world.at('product.zip')], '--sparse', ...flags);
  await once();
  await world.submit([world.at('product.zip')]);
  await once();
} finally {
  await line.close();
  await world.stop();
}
