// The pages are made in the browser, of what the API says.
export const ssr = false;
export const prerender = false;
