/** The most answers that are kept, and the largest one in characters. */
const ANSWERS_MAX = 30;
const CHARS_MAX = 1_000_000;

interface Kept {
	etag: string;
	text: string;
}

/**
 * The last answers with an ETag, so that what has not changed is not sent again. The browser's
 * own cache does not do this: the API forbids to store answers on a disk.
 */
export class KeptAnswers {
	#kept = new Map<string, Kept>();

	/** Names the answer that is here in a request for the same. */
	ask(request: Request): Kept | undefined {
		const kept = request.method === 'GET' ? this.#kept.get(request.url) : undefined;
		if (kept) request.headers.set('If-None-Match', kept.etag);
		return kept;
	}

	/** The answer in full: the one that was kept if it still holds. */
	async whole(request: Request, kept: Kept | undefined, answer: Response): Promise<Response> {
		if (answer.status === 304 && kept) {
			// It is empty, and the browser takes it for unfinished until it is read.
			await answer.arrayBuffer();
			const headers = { 'content-type': 'application/json' };
			return new Response(kept.text, { status: 200, headers });
		}
		const etag = answer.headers.get('ETag');
		if (request.method !== 'GET' || answer.status !== 200 || !etag) return answer;
		const text = await answer.clone().text();
		this.#kept.delete(request.url);
		if (text.length <= CHARS_MAX) this.#kept.set(request.url, { etag, text });
		// A map is in the order of insertion: the first one is the oldest.
		const [oldest] = this.#kept.keys();
		if (this.#kept.size > ANSWERS_MAX && oldest) this.#kept.delete(oldest);
		return answer;
	}

	/** Forgets all: somebody else may sign in. */
	clear(): void {
		this.#kept.clear();
	}
}
