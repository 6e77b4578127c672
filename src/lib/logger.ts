/** What the service says of itself: structured, one object a line in the service, readable text in a terminal. */
export type Logger = {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
};
