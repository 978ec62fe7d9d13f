import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { World } from './world/site.ts';
const world = await World.start();
await world.poll?.();
const child = join(import.meta.dirname, 'bench/poll-child.ts');
for (let i = 0; i < 2; i += 1) {
  const out = execFileSync(process.execPath, ['--import', 'tsx', child, world.site.signerConfig, '400'], {
    encoding: 'utf8',
    cwd: join(import.meta.dirname, '..'),
  });
  const { walls, cpu } = JSON.parse(out);
  const s = walls.toSorted((a: number, b: number) => a - b);
  console.log(
    process.argv[2],
    'cpu/poll ms',
    (cpu / 400).toFixed(3),
    'median',
    s[200].toFixed(2),
    'p10',
    s[40].toFixed(2),
    'min',
    s[0].toFixed(2),
  );
}
await world.stop();
process.exit(0);
