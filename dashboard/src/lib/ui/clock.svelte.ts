import { connection } from '$lib/api/connection.svelte';

/** The time, in whole tens of seconds, for what says how long ago something was. */
class TickingClock {
	now = $state(Date.now());

	constructor() {
		setInterval(() => {
			// Pages ask again with each step: not while nobody answers.
			if (!document.hidden && !connection.lost) this.now = Date.now();
		}, 10_000);
	}
}

/** One clock for the whole page. */
export const clock = new TickingClock();
