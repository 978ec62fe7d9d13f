import { withFile } from '../../lib/bytes/byte-source.ts';
import { withProgressBar } from '../../lib/progress.ts';
import type { PreparedUpload } from './prepare-uploads.ts';
import type { BuilderSession } from './session.ts';

/** Uploads a file to the incoming folder of the exchange, with a progress bar. */
export async function upload(
  session: BuilderSession,
  { name, path, size, sha256 }: PreparedUpload,
): Promise<void> {
  const to = `${session.config.exchange.incoming}/${name}`;
  await withProgressBar(session.progress, `upload ${name}`, 'bytes', (onProgress) =>
    withFile(path, (content) => session.exchange.deliver(content, to, { size, sha256, onProgress })),
  );
  session.say(`uploaded ${name} (${size} bytes, SHA-256 ${sha256})`);
}
