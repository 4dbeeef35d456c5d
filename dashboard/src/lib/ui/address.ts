// What a page shows is in its address, so that it can be linked to and gone back to.

import { goto } from '$app/navigation';
import { page } from '$app/state';

/** Changes parameters of the page's address; an empty one is taken away. */
export function goToParameters(
	parameters: Record<string, string | undefined>,
	replaceState = true
): Promise<void> {
	const url = new URL(page.url);
	for (const [name, value] of Object.entries(parameters)) {
		if (value) url.searchParams.set(name, value);
		else url.searchParams.delete(name);
	}
	return goto(url, { replaceState, keepFocus: true, noScroll: true });
}

/** Goes to another part of the page's list. */
export function goToOffset(offset: number): void {
	goToParameters({ offset: offset > 0 ? String(offset) : undefined }, false);
}
