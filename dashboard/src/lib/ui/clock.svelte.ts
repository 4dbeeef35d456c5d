import { connection } from '$lib/api/connection.svelte';

/** The current time, updated every ten seconds, for relative times. */
class TickingClock {
	now = $state(Date.now());

	constructor() {
		setInterval(() => {
			// Pages fetch again at each step, so there are no steps while the server is down.
			if (!document.hidden && !connection.lost) this.now = Date.now();
		}, 10_000);
	}
}

/** One clock for the whole page. */
export const clock = new TickingClock();
