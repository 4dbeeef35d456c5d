// Checks of the layout of a page.

import { expect, type Page } from '@playwright/test';

/** The box of a line of text, which can be outside of its element. */
export interface Words {
	text: string;
	left: number;
	top: number;
	right: number;
	bottom: number;
}

/** Returns the lines of text of each element that matches. */
export function wordsOf(page: Page, selector: string): Promise<Words[][]> {
	return page.locator(selector).evaluateAll((elements) =>
		elements.map((element) => {
			const range = document.createRange();
			range.selectNodeContents(element);
			const text = (element.textContent ?? '').trim().slice(0, 40);
			return [...range.getClientRects()]
				.filter(({ width, height }) => width > 1 && height > 1)
				.map(({ left, top, right, bottom }) => ({ text, left, top, right, bottom }));
		})
	);
}

/** Returns the pairs of elements whose texts overlap. */
export async function overprinted(page: Page, selector: string): Promise<string[]> {
	const all = await wordsOf(page, selector);
	const meet = (one: Words, other: Words) =>
		Math.min(one.right, other.right) - Math.max(one.left, other.left) > 1 &&
		Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top) > 1;
	return all.flatMap((words, place) =>
		all
			.slice(place + 1)
			.filter((others) => words.some((one) => others.some((other) => meet(one, other))))
			.map((others) => `“${words[0]?.text}” and “${others[0]?.text}”`)
	);
}

/** Checks that a page is not too wide, not too tall, and cuts nothing off. */
export async function fits(page: Page, name: string, heightMax: number) {
	const { width, height, seen } = await page.evaluate(() => ({
		width: document.documentElement.scrollWidth,
		height: document.documentElement.scrollHeight,
		seen: document.documentElement.clientWidth
	}));
	expect.soft(width, `${name} is wider than the window`).toBeLessThanOrEqual(seen);
	expect.soft(height, `${name} is too tall`).toBeLessThanOrEqual(heightMax);
	// On a phone, wide tables scroll in their box, and tables of cards must not.
	const tables = seen < 700 ? '.table-scroll:has(> .cards)' : '.table-scroll';
	const cut = await page
		.locator(`${tables}, dl.facts, .card`)
		.evaluateAll((boxes) =>
			boxes
				.filter((box) => box.scrollWidth > box.clientWidth + 1)
				.map((box) => `${box.className}: ${box.scrollWidth} px in ${box.clientWidth} px`)
		);
	expect.soft(cut, `${name} has something that is cut off`).toEqual([]);
	expect.soft(await overprinted(page, 'dl.facts > div'), `${name} overprints facts`).toEqual([]);
}
