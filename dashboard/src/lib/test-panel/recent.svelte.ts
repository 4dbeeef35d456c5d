import type { TestRequest } from './request';

/** How many requests are kept of a script. */
export const RECENT_MAX = 20;
/** Bodies longer than this are not kept, in characters: a browser keeps 5 MB in all. */
const BODY_CHARS_MAX = 32_768;
/** What lets somebody in is not kept. */
const SECRET = /^(authorization|proxy-authorization|cookie|x-api-key)$/i;

/**
 * The requests that a script was tried with last, in this browser only.
 *
 * Invariant: nothing of the session is in them, no file, and of headers that let
 * somebody in only the name.
 */
export class Recent {
	items = $state.raw<TestRequest[]>([]);
	#key: string;

	constructor(scriptId: string) {
		this.#key = `picloud-test-requests:${scriptId}`;
		try {
			const kept: unknown = JSON.parse(localStorage.getItem(this.#key) ?? '[]');
			if (Array.isArray(kept)) this.items = kept as TestRequest[];
		} catch {
			// What cannot be read is as good as nothing.
		}
	}

	/** Puts a request first; one that is there already moves there. */
	add(request: TestRequest): void {
		const kept = keepable(request);
		const text = JSON.stringify(kept);
		const others = this.items.filter((item) => JSON.stringify(item) !== text);
		this.items = [kept, ...others].slice(0, RECENT_MAX);
		this.#write();
	}

	clear(): void {
		this.items = [];
		localStorage.removeItem(this.#key);
	}

	#write(): void {
		try {
			localStorage.setItem(this.#key, JSON.stringify(this.items));
		} catch {
			// The browser's room is used up: they stay until the page is left.
		}
	}
}

/** A request without what is not kept. */
export function keepable(request: TestRequest): TestRequest {
	const { body } = request;
	const headers = request.headers.map(({ name, value }) => ({
		name,
		value: SECRET.test(name.trim()) ? '' : value
	}));
	if (body.kind === 'file') {
		return { ...request, headers, body: { kind: 'file', name: body.name, type: body.type } };
	}
	if ('text' in body && body.text.length > BODY_CHARS_MAX) {
		return { ...request, headers, body: { ...body, text: '' } };
	}
	return { ...request, headers, body: { ...body } };
}
