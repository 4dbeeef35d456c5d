import { page } from '$app/state';
import type { Schema } from '$lib/api/client';
import { Loaded } from '$lib/api/loaded.svelte';
import { goToParameters } from './address';

/** A page of entries, as the API returns it. */
type Page<Entry> = Pick<Schema['Entries'], 'next_after'> & { items: Entry[] };

interface Query {
	limit: number;
	prefix?: string | undefined;
	after?: string | undefined;
}

interface Requests<Entry> {
	/** Fetches the groups: collections or buckets. */
	groups(query: { limit: number }): Promise<Schema['List_Collection']>;
	/** Fetches entries of one group. */
	entries(group: string, query: Query): Promise<Page<Entry>>;
}

const GROUPS_MAX = 200;
const LIMIT = 50;

/**
 * The entries of an app by group: keys in collections, or files in buckets. The page's URL has the
 * group, the prefix and the cursor. Create it while a component initializes, because it has an
 * effect.
 */
export class EntryBrowser<Entry extends { name: string }> {
	readonly groups = new Loaded<Schema['List_Collection']>();
	readonly entries = new Loaded<Page<Entry>>();

	readonly #parameter: string;
	readonly #requests: Requests<Entry>;

	/** The name of the group that is shown; empty in an app without groups. */
	readonly group = $derived.by(
		() => read(this.#parameter) || (this.groups.data?.items[0]?.name ?? '')
	);
	/** Only entries whose names begin with it are shown. */
	readonly prefix = $derived(read('prefix'));
	/** The cursor; empty on the first page. */
	readonly after = $derived(read('after'));

	/** `parameter` is the parameter of the URL that has the group: `bucket`. */
	constructor(parameter: string, requests: Requests<Entry>) {
		this.#parameter = parameter;
		this.#requests = requests;
		this.loadGroups();
		$effect(() => this.loadEntries());
	}

	loadGroups(): Promise<void> {
		return this.groups.load(() => this.#requests.groups({ limit: GROUPS_MAX }));
	}

	loadEntries(): void {
		const { group, prefix, after } = this;
		if (!group) return;
		const query = { limit: LIMIT, prefix: prefix || undefined, after: after || undefined };
		this.entries.load(() => this.#requests.entries(group, query));
	}

	/** Fetches the groups and the entries again, after a change. */
	async refresh(): Promise<void> {
		await this.loadGroups();
		this.loadEntries();
	}

	choose(group: string): void {
		goToParameters({ [this.#parameter]: group, prefix: '', after: '' }, false);
	}

	search(prefix: string): void {
		goToParameters({ prefix, after: '' });
	}

	goTo(after: string): void {
		goToParameters({ [this.#parameter]: this.group, after }, false);
	}
}

function read(name: string): string {
	return page.url.searchParams.get(name) ?? '';
}
