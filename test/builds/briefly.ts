import { setTimeout as sleep } from 'node:timers/promises';
import type { Script } from './simulated-vms.ts';

/** A guest that builds for some milliseconds. */
export const briefly: Script = async (guest) => {
  guest.log('#1 begins\n');
  await sleep(Math.random() * 60);
  guest.log('#1 DONE\n');
  guest.end();
};
