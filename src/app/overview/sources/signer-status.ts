import { join } from 'node:path';
import { SignpipeError } from '../../../lib/errors.ts';
import { ANYONE, type CommitSigners } from '../../../lib/git/commit-signature.ts';
import { AllowedSigners, isRefusal } from '../../../lib/sshsig/allowed-signers.ts';
import { ControlRepository, type Branches } from '../../../protocol/control/repository.ts';
import type { SignerConfig } from '../../config/signer.ts';
import {
  isRunning,
  isSilent,
  readHealth,
  readHealthOrNull,
  type SignerHealth,
} from '../../signer/state/health.ts';
import type { SignerReport } from '../model.ts';
import { operatorHoldText, readOperatorHold } from '../../signer/state/operator-hold.ts';
import { readOverview, type OverviewOptions } from '../read-overview.ts';
import type { KnownRepository } from './fetching-status.ts';
import type { StatusReport, StatusSource } from './status-source.ts';

/** The signers whom any channel permits; null if a channel needs no list. */
async function signersOf({ channels }: SignerConfig): Promise<CommitSigners | null> {
  const lists: AllowedSigners[] = [];
  for (const { trust } of channels.values()) {
    if (trust.allowedSigners === undefined) return null;
    const revoked = trust.revokedKeys === undefined ? {} : { revoked: trust.revokedKeys };
    lists.push(await AllowedSigners.load(trust.allowedSigners, revoked));
  }
  return anyOf(lists);
}

function anyOf([first, ...others]: readonly AllowedSigners[]): CommitSigners | null {
  if (!first || others.length === 0) return first ?? null;
  return {
    find: (...question) => {
      const verdict = first.find(...question);
      if (!isRefusal(verdict)) return verdict;
      return others.map((list) => list.find(...question)).find((each) => !isRefusal(each)) ?? verdict;
    },
    persons: () => first.persons(),
  };
}

/** What the signer says in its state folder, which is newer than any heartbeat. */
function ownReport({ receipts }: SignerConfig, health: SignerHealth, now: Date): SignerReport {
  const runs = isRunning(health) && !isSilent(health, now);
  return {
    state: health.ended ? 'stopped' : runs ? 'alive' : 'silent',
    content: {
      ...health,
      name: receipts.name,
      waiting: health.waiting ?? [],
      // It raises an alarm itself if the history that it accepted is not in the clone.
      heads: { requests: null, receipts: null },
    },
  };
}

/** What only the state folder tells. */
async function ownState(
  config: SignerConfig,
  health: SignerHealth | null,
  now: Date,
): Promise<Pick<OverviewOptions, 'signers' | 'operatorHold'>> {
  const hold = await readOperatorHold(config.state);
  return {
    signers: health ? [ownReport(config, health, now)] : [],
    operatorHold: hold && { code: 'hold', text: operatorHoldText(hold) },
  };
}

/** Whose signatures count for the operator of a signer. */
async function signerKeys(config: SignerConfig): Promise<OverviewOptions> {
  return {
    requestSigners: await signersOf(config),
    // The signer accepts no receipt of another key into its clone without an alarm.
    receiptSigners: ANYONE,
    ownerOnly: true,
    after: config.control.since,
  };
}

/** The signer's clone as it is, with the keys that its operator trusts. */
export async function openForSigner(config: SignerConfig): Promise<KnownRepository> {
  const { requests, receipts } = config.control;
  const path = join(config.state, 'control.git');
  const repository = await ControlRepository.openExisting(path, { requests, receipts });
  const keys = async (): Promise<OverviewOptions> => {
    const health = await readHealthOrNull(config.state);
    return { ...(await signerKeys(config)), ...(await ownState(config, health, new Date())) };
  };
  return { repository, keys, refresh: () => Promise.resolve() };
}

/** The signer's clone; null if there is none yet, or nothing in it. */
async function openClone(
  path: string,
  branches: Pick<Branches, 'requests' | 'receipts'>,
): Promise<ControlRepository | null> {
  try {
    return await ControlRepository.openExisting(path, branches);
  } catch (error) {
    if (
      error instanceof SignpipeError &&
      ['control-no-branches', 'control-not-a-repository'].includes(error.code)
    )
      return null;
    throw error;
  }
}

/**
 * The status for the signer's operator, from its state folder and its clone alone: no lock is taken, and no host is
 * asked.
 */
export async function signerStatus(config: SignerConfig): Promise<StatusSource> {
  const { state, control } = config;
  const clone = join(state, 'control.git');
  const { requests, receipts } = control;
  let repository: ControlRepository | null = null;
  const read = async (now: Date): Promise<StatusReport> => {
    const health = await readHealth(state);
    const report = { ...health, running: isRunning(health), silent: isSilent(health, now) };
    repository ??= await openClone(clone, { requests, receipts });
    if (repository === null) return { overview: null, health: report, notes: [] };
    const overview = await readOverview(repository, {
      ...(await signerKeys(config)),
      ...(await ownState(config, health, now)),
      now,
      checkpoint: join(state, 'overview'),
    });
    return { overview, health: report, notes: [] };
  };
  return { read, close: () => Promise.resolve(repository?.close()) };
}
