/**
 * The one time that is written into ctr images, whenever they are made, so that the same pins make the same image, by its digest: 2025-01-01
 * in seconds since 1970. What is older keeps its time (https://reproducible-builds.org/specs/source-date-epoch).
 */
export const sourceDateEpoch = '1735689600';
