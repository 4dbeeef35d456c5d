/** Returns the offset in a URL: the number of items before the page. 0 without a valid offset. */
export function offsetIn(search: URLSearchParams): number {
	const offset = Number(search.get('offset'));
	return Number.isSafeInteger(offset) && offset > 0 ? offset : 0;
}
