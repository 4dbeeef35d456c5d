import { getContext, setContext } from 'svelte';
import { api, body, type Schema } from '$lib/api/client';
import { Loaded } from '$lib/api/loaded.svelte';

const KEY = Symbol('app');

/** The most items that one page of a list has. */
const PAGE_MAX = 200;

/** The app that a page is about, and what several of its tabs need. */
export class AppContext {
	/** The app's name. */
	readonly name: string;
	/** The app itself. */
	readonly app = new Loaded<Schema['AppInFull']>();
	/** How many dead letters nobody has dealt with. */
	readonly deadLetters = new Loaded<number>();
	/** The scripts, by name: what triggers and routes can lead to. */
	readonly scripts = new Loaded<Schema['Script'][]>();

	constructor(name: string) {
		this.name = name;
	}

	/** What paths of the API have for this app. */
	get path(): { app: string } {
		return { app: this.name };
	}

	/** Whether whoever is signed in may do this in the app: `app_write_scripts`. */
	may(capability: string): boolean {
		return this.app.data?.capabilities.includes(capability) ?? false;
	}

	/** An address of this app. */
	href(rest = ''): string {
		return `/apps/${encodeURIComponent(this.name)}${rest}`;
	}

	/** Everything at once; what fails does not hold up the rest. */
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

	/** All scripts: an app has a few hundred at most, and forms offer them all. */
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

	/** The name of a script of this app, or its id if it is gone. */
	scriptName(id: string | null | undefined): string {
		return this.scripts.data?.find((script) => script.id === id)?.name ?? id ?? '';
	}
}

/** Makes an app known to everything below. */
export function provideApp(app: AppContext): AppContext {
	return setContext(KEY, app);
}

/** The app that the page is about. */
export function appContext(): AppContext {
	return getContext<AppContext>(KEY);
}
