import { api, body, type Schema } from '$lib/api/client';
import { ApiError, asApiError } from '$lib/api/error';
import { Loaded } from '$lib/api/loaded.svelte';

type WithSource = Schema['ScriptWithSource'];

/**
 * A script that somebody works on: what is saved, and what is typed.
 *
 * ```text
 *  saved ─ typing ─▶ unsaved ─ save ─▶ saved
 *                      ▲   └─ somebody else has saved ─▶ conflict ─ load theirs ─▶ saved
 *                      └──────────── go on ────────────────┘ └───── overwrite ─▶ saved
 * ```
 *
 * Invariant: what is typed is lost only to "load theirs" and to leaving the page.
 */
export class OpenScript {
	/** What is saved. */
	readonly loaded = new Loaded<WithSource>();
	/** What is typed. */
	draft = $state('');
	saving = $state(false);
	/** Why the last attempt to save failed. */
	error = $state.raw<ApiError>();
	/** What somebody else has saved meanwhile. */
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

	/** Fetches what is saved; what is typed stays. */
	async load(): Promise<void> {
		const wasUnsaved = this.unsaved;
		await this.loaded.load(() => this.#fetch());
		if (!wasUnsaved && this.script) this.draft = this.script.source;
	}

	/** Saves what is typed as a new version. Whether it is saved now. */
	async save(): Promise<boolean> {
		if (!this.script) return false;
		return this.unsaved ? this.#save(this.script.version) : true;
	}

	/** Saves over what somebody else has saved. */
	async overwrite(): Promise<void> {
		if (this.conflict) await this.#save(this.conflict.version);
	}

	/** Gives what is typed up for what somebody else has saved. */
	takeTheirs(): void {
		if (!this.conflict) return;
		this.loaded.data = this.conflict;
		this.draft = this.conflict.source;
		this.conflict = undefined;
		this.error = undefined;
	}

	/** Changes anything but the source; throws an {@link ApiError}. */
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
			// The hash is only shown of versions, which are fetched.
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

/** A text with ends of lines as the editor has them, whatever system it was written on. */
function lines(text: string): string {
	return text.replace(/\r\n?/g, '\n');
}
