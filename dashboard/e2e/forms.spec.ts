// Forms as a browser sends them: a form in the page of a script, and `FormData`.

import { expect, test } from './host';

const SEE = `
if ctx.request.method == "GET" {
	return #{ headers: #{ "content-type": "text/html; charset=utf-8" }, body: \`
		<form method="post" enctype="multipart/form-data">
			<input name="tag" value="a"><input name="tag" value="b & ü">
			<input name="file" type="file"><button>Send</button>
		</form>\` };
}
let seen = ctx.request;
let files = seen.files.map(|file| {
	file.content = file.content.as_string();
	file
});
#{ form: seen.form_all, files: files }`;

const FILE = {
	name: 'file',
	file_name: 'nöte 1.txt',
	content_type: 'text/plain',
	content: 'one\ntwo'
};

test('a script reads the form of a page with its file', async ({ page, host }) => {
	const app = `forms${Date.now()}`;
	await host.api('POST', '/apps', { name: app });
	await host.api('POST', `/apps/${app}/scripts`, { name: 'see', source: SEE });
	await page.goto(`${host.url}/x/${app}/see`);
	await page.locator('input[type=file]').setInputFiles({
		name: FILE.file_name,
		mimeType: FILE.content_type,
		buffer: Buffer.from(FILE.content)
	});
	const answered = page.waitForResponse((answer) => answer.request().method() === 'POST');
	await page.getByRole('button', { name: 'Send' }).click();
	const seen = await (await answered).json();
	expect(seen).toEqual({ form: { tag: ['a', 'b & ü'] }, files: [FILE] });
});

test('a script reads the FormData and URLSearchParams that fetch sends', async ({
	page,
	signIn,
	host
}) => {
	const app = `fetched${Date.now()}`;
	await host.api('POST', '/apps', { name: app });
	await host.api('POST', `/apps/${app}/scripts`, { name: 'see', source: SEE });
	await signIn();
	const seen = await page.evaluate(
		async ([url, file]) => {
			const send = async (body: FormData | URLSearchParams) =>
				(await fetch(url, { method: 'POST', body })).json();
			const form = new FormData();
			form.append('tag', 'a');
			form.append('tag', 'b & ü');
			form.append('file', new File([file.content], file.file_name, { type: file.content_type }));
			return [await send(form), await send(new URLSearchParams([['tag', 'a + ü']]))];
		},
		[`/x/${app}/see`, FILE] as const
	);
	expect(seen).toEqual([
		{ form: { tag: ['a', 'b & ü'] }, files: [FILE] },
		{ form: { tag: ['a + ü'] }, files: [] }
	]);
});
