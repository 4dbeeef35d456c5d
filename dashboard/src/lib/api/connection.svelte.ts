/** The first and the longest pause between two probes, in ms. */
const RETRY_FIRST_MS = 500;
const RETRY_MOST_MS = 5_000;
/** The path that is probed. It needs no session and costs the server little. */
const PROBE = '/health/live';

/**
 * Whether the server can be reached.
 *
 * ```text
 *  reached ─ a request gets no response ─▶ lost ─ the probe succeeds ─▶ reached
 * ```
 */
class Connection {
	lost = $state(false);

	#back: Promise<void> | undefined;

	/** Resolves when the server responds again. */
	returned(): Promise<void> {
		this.lost = true;
		return (this.#back ??= this.#probe().finally(() => {
			this.#back = undefined;
			this.lost = false;
		}));
	}

	/** Whether the server responds now. */
	async answers(): Promise<boolean> {
		const answer = await fetch(PROBE, { cache: 'no-store' }).catch(() => undefined);
		return answer !== undefined && !isFromProxy(answer);
	}

	async #probe(): Promise<void> {
		for (let pause = RETRY_FIRST_MS; ; pause = Math.min(pause * 2, RETRY_MOST_MS)) {
			await new Promise((resolve) => setTimeout(resolve, pause));
			if (await this.answers()) return;
		}
	}
}

/** Whether a proxy responded that the server is down. PiCloud never sends these statuses. */
export function isFromProxy(answer: Response): boolean {
	return answer.status === 502 || answer.status === 504;
}

/** The page's connection. */
export const connection = new Connection();
