/** The part of it that is used; it brings no types. */
declare module 'seek-bzip' {
  const Bunzip: {
    /** Decodes one stream. @throws TypeError when the data is damaged */
    decode(
      input: { readByte(): number; read(buffer: Uint8Array, offset: number, length: number): number },
      output: { writeByte(byte: number): void },
    ): void;
  };
  export default Bunzip;
}
