/** How long to wait before the server is asked again, in ms: the first time and at most. */
const RETRY_FIRST_MS = 500;
const RETRY_MOST_MS = 5_000;
/** What is asked. It needs no session and costs the server nothing. */
const PROBE = '/health/live';

/**
 * Whether the server can be reached.
 *
 * ```text
 *  reached ─ a request brings no answer ─▶ lost ─ the probe is answered ─▶ reached
 * ```
 */
class Connection {
	lost = $state(false);

	#back: Promise<void> | undefined;

	/** Waits until the server answers again. */
	returned(): Promise<void> {
		this.lost = true;
		return (this.#back ??= this.#probe().finally(() => {
			this.#back = undefined;
			this.lost = false;
		}));
	}

	/** Whether the server answers now. */
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

/** Whether a proxy answers that it does not reach the server: PiCloud answers neither. */
export function isFromProxy(answer: Response): boolean {
	return answer.status === 502 || answer.status === 504;
}

/** The page's connection. */
export const connection = new Connection();
