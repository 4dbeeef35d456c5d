// Requests and responses, as an execution stores them.

/** Parses a JSON text; `undefined` if it is not JSON, for example because it was truncated. */
export function asJson(text: string): { value: unknown } | undefined {
	try {
		return { value: JSON.parse(text) as unknown };
	} catch {
		return undefined;
	}
}

/** Returns the number of bytes of a body that are not stored. */
export function missingBytes(body: string, bodyBytes: number | null | undefined): number {
	const kept = new TextEncoder().encode(body).length;
	return Math.max(0, (bodyBytes ?? kept) - kept);
}
