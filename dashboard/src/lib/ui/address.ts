// A page keeps its state in its URL, so that links and the browser's history work.

import { goto } from '$app/navigation';
import { page } from '$app/state';

/** Changes parameters of the page's URL. An empty value removes the parameter. */
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

/** Goes to another page of the page's list. */
export function goToOffset(offset: number): void {
	goToParameters({ offset: offset > 0 ? String(offset) : undefined }, false);
}
