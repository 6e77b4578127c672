/** Who waits for a VM of which entry. */
export type VmRequest = {
  readonly entry: string;
  /** Whose build it is. */
  readonly tenant: string;
  readonly signal: AbortSignal;
  /** The place in the line, 1 first, whenever that changes; never told while a VM is being made for this build. */
  readonly onPlace: (place: number) => void;
};
