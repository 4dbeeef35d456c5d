/** The time, in whole tens of seconds, for what says how long ago something was. */
class TickingClock {
	now = $state(Date.now());

	constructor() {
		setInterval(() => {
			if (!document.hidden) this.now = Date.now();
		}, 10_000);
	}
}

/** One clock for the whole page. */
export const clock = new TickingClock();
