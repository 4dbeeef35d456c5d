/** Maximum number of stored responses, and of characters in each. */
const ANSWERS_MAX = 30;
const CHARS_MAX = 1_000_000;

interface Kept {
	etag: string;
	text: string;
}

/**
 * The last responses with an ETag, so that unchanged data is not sent again. The browser's cache
 * cannot do this, because the API forbids storing responses on disk.
 */
export class KeptAnswers {
	#kept = new Map<string, Kept>();

	/** Adds the ETag of the stored response to a request, and returns that response. */
	ask(request: Request): Kept | undefined {
		const kept = request.method === 'GET' ? this.#kept.get(request.url) : undefined;
		if (kept) request.headers.set('If-None-Match', kept.etag);
		return kept;
	}

	/** Returns the response with its body: the stored one if it has not changed. */
	async whole(request: Request, kept: Kept | undefined, answer: Response): Promise<Response> {
		if (answer.status === 304 && kept) {
			// The body is empty, but the browser counts the request as unfinished until it is read.
			await answer.arrayBuffer();
			const headers = { 'content-type': 'application/json' };
			return new Response(kept.text, { status: 200, headers });
		}
		const etag = answer.headers.get('ETag');
		if (request.method !== 'GET' || answer.status !== 200 || !etag) return answer;
		const text = await answer.clone().text();
		this.#kept.delete(request.url);
		if (text.length <= CHARS_MAX) this.#kept.set(request.url, { etag, text });
		// A map keeps the order of insertion, so its first key is the oldest.
		const [oldest] = this.#kept.keys();
		if (this.#kept.size > ANSWERS_MAX && oldest) this.#kept.delete(oldest);
		return answer;
	}

	/** Deletes all responses, because another user may sign in. */
	clear(): void {
		this.#kept.clear();
	}
}
