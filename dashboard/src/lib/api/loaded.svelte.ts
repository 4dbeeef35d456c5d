import { type ApiError, asApiError } from './error';

/**
 * Data that is fetched, with the state of the request.
 *
 * The latest call wins: late responses of earlier calls are dropped. The previous data stays until
 * the new data arrives, so that the layout does not shift.
 */
export class Loaded<Data> {
	/** The data that was fetched last. */
	data = $state.raw<Data>();
	/** Why the last attempt failed. */
	error = $state.raw<ApiError>();
	/** Whether a request is running. */
	loading = $state(true);

	#attempt = 0;

	/** Whether the first request is still running. */
	get first(): boolean {
		return this.loading && this.data === undefined && !this.error;
	}

	/** Fetches the data. Never throws. */
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

	/** Drops the data and the error, before other data is fetched. */
	clear(): void {
		this.#attempt++;
		this.data = undefined;
		this.error = undefined;
		this.loading = true;
	}
}
