import { type ApiError, asApiError } from './error';

/**
 * Something that is fetched, and what a page shows until it is there.
 *
 * A new call while another is under way wins: answers that come late are dropped. What
 * was fetched before stays while it is fetched again, so that nothing jumps.
 */
export class Loaded<Data> {
	/** What was fetched last. */
	data = $state.raw<Data>();
	/** Why the last attempt failed. */
	error = $state.raw<ApiError>();
	/** Whether an attempt is under way. */
	loading = $state(true);

	#attempt = 0;

	/** Whether there is nothing yet, and no error either. */
	get first(): boolean {
		return this.loading && this.data === undefined && !this.error;
	}

	/** Fetches; never throws. */
	async load(fetched: () => Promise<Data>): Promise<void> {
		const attempt = ++this.#attempt;
		this.loading = true;
		try {
			const data = await fetched();
			if (attempt !== this.#attempt) return;
			this.data = data;
			this.error = undefined;
		} catch (thrown) {
			if (attempt !== this.#attempt) return;
			this.error = asApiError(thrown);
		}
		this.loading = false;
	}

	/** Forgets everything: what is shown next is something else. */
	clear(): void {
		this.#attempt++;
		this.data = undefined;
		this.error = undefined;
		this.loading = true;
	}
}
