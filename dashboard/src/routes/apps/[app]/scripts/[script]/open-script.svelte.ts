import { api, body, type Schema } from '$lib/api/client';
import { ApiError, asApiError } from '$lib/api/error';
import { Loaded } from '$lib/api/loaded.svelte';

type WithSource = Schema['ScriptWithSource'];

/**
 * A script in the editor: the saved source and the typed source.
 *
 * ```text
 *  saved ─ typing ─▶ unsaved ─ save ─▶ saved
 *                      ▲   └─ another user has saved ─▶ conflict ─ load theirs ─▶ saved
 *                      └─────────── keep editing ────────┘ └────── overwrite ──▶ saved
 * ```
 *
 * Invariant: only "load theirs" and leaving the page discard the typed source.
 */
export class OpenScript {
	/** The saved script. */
	readonly loaded = new Loaded<WithSource>();
	/** The typed source. */
	draft = $state('');
	saving = $state(false);
	/** Why the last attempt to save failed. */
	error = $state.raw<ApiError>();
	/** The version that another user saved in the meantime. */
	conflict = $state.raw<WithSource>();

	readonly app: string;
	readonly name: string;

	constructor(app: string, name: string) {
		this.app = app;
		this.name = name;
	}

	get script(): WithSource | undefined {
		return this.loaded.data;
	}

	get unsaved(): boolean {
		return this.script !== undefined && lines(this.draft) !== lines(this.script.source);
	}

	/** Fetches the saved script. Unsaved changes stay. */
	async load(): Promise<void> {
		const wasUnsaved = this.unsaved;
		await this.loaded.load(() => this.#fetch());
		if (!wasUnsaved && this.script) this.draft = this.script.source;
	}

	/** Saves the typed source as a new version. Resolves to whether it is saved. */
	async save(): Promise<boolean> {
		if (!this.script) return false;
		return this.unsaved ? this.#save(this.script.version) : true;
	}

	/** Saves the typed source as the version after the other user's. */
	async overwrite(): Promise<void> {
		if (this.conflict) await this.#save(this.conflict.version);
	}

	/** Discards the typed source for the other user's version. */
	takeTheirs(): void {
		if (!this.conflict) return;
		this.loaded.data = this.conflict;
		this.draft = this.conflict.source;
		this.conflict = undefined;
		this.error = undefined;
	}

	/** Changes anything except the source. Throws an {@link ApiError}. */
	async change(change: Schema['ScriptChange']): Promise<void> {
		const saved = await this.#put(change);
		const { source, source_sha256 } = this.script!;
		this.loaded.data = { ...saved, source, source_sha256 };
	}

	async #save(expectedVersion: number): Promise<boolean> {
		if (this.saving || !this.script) return false;
		const source = this.draft;
		this.saving = true;
		this.error = undefined;
		try {
			const saved = await this.#put({ source, expected_version: expectedVersion });
			// No page shows this hash. The versions are fetched with theirs.
			this.loaded.data = { ...saved, source, source_sha256: '' };
			this.conflict = undefined;
			return true;
		} catch (thrown) {
			await this.#explain(asApiError(thrown));
			return false;
		} finally {
			this.saving = false;
		}
	}

	async #explain(error: ApiError): Promise<void> {
		try {
			if (error.code === 'version_conflict') this.conflict = await this.#fetch();
			else this.error = error;
		} catch (thrown) {
			this.error = asApiError(thrown);
		}
	}

	#put(change: Schema['ScriptChange']): Promise<Schema['Script']> {
		const params = { path: { id: this.script!.id } };
		return body(api.PUT('/api/v1/scripts/{id}', { params, body: change }));
	}

	async #fetch(): Promise<WithSource> {
		const byName = { path: { app: this.app }, query: { name: this.name } };
		const found = await body(api.GET('/api/v1/apps/{app}/scripts', { params: byName }));
		const script = found.items[0];
		if (!script) {
			const message = `There is no script ${this.name} in ${this.app}.`;
			throw new ApiError(404, 'script_not_found', message);
		}
		const params = { path: { id: script.id } };
		return body(api.GET('/api/v1/scripts/{id}', { params }));
	}
}

/** Converts line breaks to those of the editor. */
function lines(text: string): string {
	return text.replace(/\r\n?/g, '\n');
}
