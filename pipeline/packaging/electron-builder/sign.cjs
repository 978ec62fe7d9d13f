// electron-builder's hook: `win.signtoolOptions.sign` is the path of this file. It is called for each program that is
// packed, for the uninstaller and for the installer, and has to sign the file at `configuration.path` in place.
//
//   "build": { "win": { "signtoolOptions": { "sign": "./sign.cjs", "signingHashAlgorithms": ["sha256"] } } }
//
// SIGNPIPE_CONFIG names builder.yaml; SIGNPIPE and SIGNPIPE_FLAGS replace the program and add flags of `signpipe submit`.
const { spawn } = require('node:child_process');

/** Words of an environment variable; they are separated by spaces. */
const words = (text = '') => text.split(' ').filter((word) => word !== '');

function run([program, ...args]) {
  return new Promise((done, failed) => {
    // Windows runs npm's signpipe.cmd only in a shell, in which a path may have spaces.
    const shell = process.platform === 'win32';
    const quoted = shell ? args.map((arg) => `"${arg}"`) : args;
    const child = spawn(program, quoted, { stdio: ['ignore', 'inherit', 'inherit'], shell });
    child.on('error', failed);
    child.on('close', (status) => (status === 0 ? done() : failed(new Error(`signpipe ended with status ${status}`))));
  });
}

/** Programs are signed one after another, as electron-builder asks for them. */
exports.default = async function sign({ path, hash }) {
  // Unless signingHashAlgorithms is set, each file comes twice: for SHA-1, which nobody needs today, and for SHA-256.
  if (hash === 'sha1') return;
  const config = process.env.SIGNPIPE_CONFIG;
  if (!config) throw new Error('SIGNPIPE_CONFIG has to name builder.yaml');
  const program = words(process.env.SIGNPIPE ?? 'signpipe');
  await run([...program, 'submit', '-c', config, '--in-place', ...words(process.env.SIGNPIPE_FLAGS), path]);
};
