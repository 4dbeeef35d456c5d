import { page } from '$app/state';
import type { Schema } from '$lib/api/client';
import { Loaded } from '$lib/api/loaded.svelte';
import { offsetIn } from './offset';

/** A page of a list, as the API returns it. */
type Page<Item> = Pick<Schema['List_App'], 'next_offset'> & { items: Item[] };

interface Query {
	limit: number;
	offset: number;
}

interface Options {
	/** Maximum number of items on a page. */
	limit?: number;
	/** Returns the number of items before the page. The default reads the page's URL. */
	offset?: () => number;
	/** Whether all data that the request needs is known. */
	ready?: () => boolean;
}

/**
 * A list that is shown page by page. It is fetched again when the page changes, or any other state
 * that the request reads. Create it while a component initializes, because it has an effect.
 */
export class PagedList<Item> extends Loaded<Page<Item>> {
	/** Maximum number of items on a page. */
	readonly limit: number;

	readonly #fetch: (query: Query) => Promise<Page<Item>>;
	readonly #offset: () => number;
	readonly #ready: () => boolean;

	/** Number of items before the page. */
	readonly offset = $derived.by(() => this.#offset());

	constructor(fetch: (query: Query) => Promise<Page<Item>>, options: Options = {}) {
		super();
		this.limit = options.limit ?? 50;
		this.#fetch = fetch;
		this.#offset = options.offset ?? (() => offsetIn(page.url.searchParams));
		this.#ready = options.ready ?? (() => true);
		$effect(() => void this.reload());
	}

	/** Fetches the page again. */
	async reload(): Promise<void> {
		if (!this.#ready()) return;
		await this.load(() => this.#fetch({ limit: this.limit, offset: this.offset }));
	}
}
