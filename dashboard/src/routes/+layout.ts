// The browser renders the pages from the data of the API.
export const ssr = false;
export const prerender = false;
