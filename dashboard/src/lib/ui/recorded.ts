// What came in and what came out, as an execution keeps it.

/** The value of a JSON text; `undefined` for what is none, such as one that was cut. */
export function asJson(text: string): { value: unknown } | undefined {
	try {
		return { value: JSON.parse(text) as unknown };
	} catch {
		return undefined;
	}
}

/** How many bytes of a body were not kept. */
export function missingBytes(body: string, bodyBytes: number | null | undefined): number {
	const kept = new TextEncoder().encode(body).length;
	return Math.max(0, (bodyBytes ?? kept) - kept);
}
