/** Returns why a text is not JSON; `undefined` if it is. */
export function wrongJson(text: string): string | undefined {
	try {
		JSON.parse(text);
		return undefined;
	} catch (error) {
		return `This is not JSON: ${(error as Error).message}`;
	}
}
