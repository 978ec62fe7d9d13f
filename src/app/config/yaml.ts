import { isAlias, isMap, isNode, isScalar, LineCounter, parseDocument, type Document } from 'yaml';
import type { z } from 'zod';
import { hasCode, messageOf, SignpipeError, usage } from '../../lib/errors.ts';
import { readOnce } from '../../lib/bytes/byte-source.ts';
import { configurationsIn, otherRole, otherRoleHint, roleOf, type ConfigRole } from './role.ts';

/** A configuration has a few kilobytes. */
const MAX_BYTES = 1024 * 1024;

async function readText(path: string): Promise<string> {
  try {
    const bytes = await readOnce(path, MAX_BYTES);
    if (bytes === null) throw usage('config-too-large', `${path}: larger than ${MAX_BYTES} bytes`);
    return bytes.toString('utf8');
  } catch (error) {
    if (hasCode(error, 'ENOENT'))
      throw usage('config-not-found', `${path}: no such configuration file`, {
        hint: 'make one with: signpipe init',
        cause: error,
      });
    if (hasCode(error, 'EACCES'))
      throw usage('config-unreadable', `${path}: cannot be read: ${messageOf(error)}`, { cause: error });
    if (error instanceof SignpipeError && error.code === 'not-a-file') throw await notAConfiguration(path);
    throw error;
  }
}

async function notAConfiguration(path: string): Promise<SignpipeError> {
  const inside = await configurationsIn(path);
  return usage('config-not-a-file', `${path}: is a folder or a device, and no configuration file`, {
    hint: `give the file${inside.length > 0 ? ` in it: ${inside.join(' or ')}` : ', such as DIR/signer.yaml'}`,
  });
}

type Path = readonly PropertyKey[];

/** The offset in the file of a value, or of the nearest section that exists; for a `key`, of its name. */
function offsetOf(document: Document, path: Path, key?: string): number {
  const node = path.length === 0 ? document.contents : document.getIn(path.map(String), true);
  if (key !== undefined && isMap(node)) {
    const pair = node.items.find((each) => isScalar(each.key) && each.key.value === key);
    if (pair && isNode(pair.key)) return pair.key.range?.[0] ?? 0;
  }
  if (isNode(node)) return node.range?.[0] ?? 0;
  return path.length === 0 ? 0 : offsetOf(document, path.slice(0, -1));
}

const isMissing = (issue: z.core.$ZodIssue): boolean =>
  issue.code === 'invalid_type' && issue.message.endsWith('received undefined');

function describeIssue(issue: z.core.$ZodIssue): { key: string | undefined; text: string } {
  const where = issue.path.map(String).join('.');
  if (issue.code === 'unrecognized_keys') {
    const [key] = issue.keys;
    return { key, text: `unknown key "${where === '' ? '' : `${where}.`}${key ?? ''}"` };
  }
  const text = isMissing(issue) ? 'is missing' : issue.message;
  return { key: undefined, text: where === '' ? text : `${where}: ${text}` };
}

function refuse(
  { path, document, lines }: YamlFile,
  issues: readonly z.core.$ZodIssue[],
  needed: readonly ConfigRole[],
): SignpipeError {
  const messages = issues.map((issue) => {
    const { key, text } = describeIssue(issue);
    const { line, col } = lines.linePos(offsetOf(document, issue.path, key));
    return `${path}:${line}:${col}: ${text}`;
  });
  // Every role has `control`; a file without it is incomplete rather than of another role.
  const role = document.has('control') ? roleOf(document) : null;
  if (role !== null && !needed.includes(role))
    return usage('config-role', [otherRole(path, role, needed), ...messages].join('\n'), {
      hint: otherRoleHint(needed),
    });
  return usage('config-invalid', messages.join('\n'), {
    hint: 'keys.example/ has complete configurations with every key explained',
  });
}

/** A configuration that was read (only once, since it may be a pipe) and parsed, but not checked. */
export interface YamlFile {
  readonly path: string;
  readonly document: Document;
  readonly lines: LineCounter;
}

/** Reads and parses a file. Throws `config-not-yaml` with file, line and column, and the errors of `readText`. */
export async function readYaml(path: string): Promise<YamlFile> {
  const lines = new LineCounter();
  const document = parseDocument(await readText(path), {
    lineCounter: lines,
    prettyErrors: false,
    version: '1.2',
    uniqueKeys: true,
  });
  const [broken] = [...document.errors, ...document.warnings];
  if (broken) {
    const { line, col } = lines.linePos(broken.pos[0]);
    throw usage('config-not-yaml', `${path}:${line}:${col}: ${broken.message}`);
  }
  if (isAlias(document.contents))
    throw usage('config-not-yaml', `${path}:1:1: an alias is not a configuration`);
  return { path, document, lines };
}

/**
 * Reads a YAML configuration, unless it was read already, and checks it against `schema`, whose objects are strict:
 * unknown keys are refused. `roles` are those whose configuration it may be: if it is that of another role, the error
 * says so (`config-role`). Throws `config-...` (usage); every message names file, line and column.
 */
export async function loadYaml<Schema extends z.ZodType>(
  file: string | YamlFile,
  schema: Schema,
  ...roles: ConfigRole[]
): Promise<{ path: string; raw: z.output<Schema> }> {
  const yaml = typeof file === 'string' ? await readYaml(file) : file;
  const result = schema.safeParse(yaml.document.toJS({ maxAliasCount: 20 }));
  if (!result.success) throw refuse(yaml, result.error.issues, roles);
  return { path: yaml.path, raw: result.data };
}
