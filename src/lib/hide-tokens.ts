/** Text without the secrets of kiln's tokens that it quotes, such as that of a caller who put one into a URL. */
export function hideTokens(text: string): string {
  return text.replace(/(kiln_[0-9a-f]{12}_)[A-Za-z0-9_-]+/g, '$1…');
}
