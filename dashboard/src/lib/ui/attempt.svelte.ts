import { type ApiError, asApiError } from '$lib/api/error';

/** The state of an action: whether it runs, and why the last attempt failed. */
export class Attempt {
	busy = $state(false);
	error = $state.raw<ApiError>();

	/** Runs the action. Never throws. Resolves to whether the action succeeded. */
	async run(action: () => Promise<unknown>): Promise<boolean> {
		this.busy = true;
		this.error = undefined;
		try {
			await action();
		} catch (thrown) {
			this.error = asApiError(thrown);
		}
		this.busy = false;
		return this.error === undefined;
	}
}
