/** What `npm run soak` has, in its order: each is the file NAME.soak.ts beside this one, with its time limit in minutes. */
export const subjects: Readonly<Record<string, number>> = {
  names: 10,
  'whole-paths': 20,
  failures: 30,
  entries: 90,
  rebuild: 60,
  derived: 30,
  'many-connections': 30,
  'real-programs': 60,
  'killed-service': 60,
  'compose-docker': 30,
};
