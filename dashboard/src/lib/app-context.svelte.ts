import { getContext, setContext } from 'svelte';
import { api, body, type Schema } from '$lib/api/client';
import { Loaded } from '$lib/api/loaded.svelte';

const KEY = Symbol('app');

/** The maximum number of items on a page of a list. */
const PAGE_MAX = 200;

/** The app of a page, and the data that several of its tabs need. */
export class AppContext {
	/** The app's name. */
	readonly name: string;
	readonly app = new Loaded<Schema['AppInFull']>();
	/** Number of unresolved dead letters. */
	readonly deadLetters = new Loaded<number>();
	/** The scripts, sorted by name. */
	readonly scripts = new Loaded<Schema['Script'][]>();

	constructor(name: string) {
		this.name = name;
	}

	/** The path parameters of the API for this app. */
	get path(): { app: string } {
		return { app: this.name };
	}

	/** Whether the signed-in user has a capability in the app: `app_write_scripts`. */
	may(capability: string): boolean {
		return this.app.data?.capabilities.includes(capability) ?? false;
	}

	/** Returns a URL below the app's pages. */
	href(rest = ''): string {
		return `/apps/${encodeURIComponent(this.name)}${rest}`;
	}

	/** Fetches everything in parallel. A failed request does not affect the others. */
	load(): void {
		const params = { path: this.path };
		this.app.load(() => body(api.GET('/api/v1/apps/{app}', { params })));
		this.countDeadLetters();
		this.loadScripts();
	}

	countDeadLetters(): Promise<void> {
		const params = { path: this.path };
		return this.deadLetters.load(async () => {
			return (await body(api.GET('/api/v1/apps/{app}/dead-letters/count', { params }))).count;
		});
	}

	/** Fetches all scripts. An app has a few hundred at most, and forms list them all. */
	loadScripts(): Promise<void> {
		return this.scripts.load(async () => {
			const scripts: Schema['Script'][] = [];
			for (let offset: number | null | undefined = 0; typeof offset === 'number';) {
				const query: { limit: number; offset: number } = { limit: PAGE_MAX, offset };
				const params = { path: this.path, query };
				const list = await body(api.GET('/api/v1/apps/{app}/scripts', { params }));
				scripts.push(...list.items);
				offset = list.next_offset;
			}
			return scripts.sort((one, other) => one.name.localeCompare(other.name));
		});
	}

	/** The names of all scripts that are known so far. */
	get scriptNames(): string[] {
		return this.scripts.data?.map((script) => script.name) ?? [];
	}

	/** Returns the name of a script of this app, or its id if the script was deleted. */
	scriptName(id: string | null | undefined): string {
		return this.scripts.data?.find((script) => script.id === id)?.name ?? id ?? '';
	}
}

/** Provides an app to all components below. */
export function provideApp(app: AppContext): AppContext {
	return setContext(KEY, app);
}

/** Returns the app of the page. */
export function appContext(): AppContext {
	return getContext<AppContext>(KEY);
}
