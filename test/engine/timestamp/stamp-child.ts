import { TimestampClient } from '../../../src/engine/timestamp/client.ts';

/**
 * Asks each authority named by an argument once, and writes the outcomes as JSON. It is a process of its own,
 * because Node reads NODE_EXTRA_CA_CERTS only when it starts.
 */
const answers: { code: string; message: string }[] = [];
for (const url of process.argv.slice(2)) {
  let answer = { code: 'granted', message: '' };
  const authorities = new TimestampClient([url], {
    attempts: 1,
    timeoutMs: 2000,
    onFailure: (_, { code, message }) => (answer = { code, message }),
  });
  await authorities.timestamp(Buffer.from('data'), 'sha256').catch((error: unknown) => {
    if (answer.code === 'granted') throw error;
  });
  answers.push(answer);
}
process.stdout.write(JSON.stringify(answers));
