/** Shown without a token: how to get one, and a place to paste it. */
export class SignInView {
  #pane = document.getElementById('sign-in');
  #trouble = document.getElementById('sign-in-trouble');

  constructor({ onToken }) {
    this.#pane.querySelector('form').addEventListener('submit', (event) => {
      event.preventDefault();
      onToken(event.target.elements.token.value);
    });
  }

  show(trouble) {
    this.#pane.hidden = false;
    this.#trouble.textContent = trouble;
  }

  /** Without development sign-in only the backend makes tokens. */
  explain(isDevelopment) {
    for (const id of ['sign-in-links', 'sign-in-command']) document.getElementById(id).hidden = !isDevelopment;
    document.getElementById('sign-in-backend').hidden = isDevelopment;
  }
}
