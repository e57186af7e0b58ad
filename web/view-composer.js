/** Where the user writes: Enter sends, Shift+Enter begins a line. What is not sent is kept for each conversation. */
export class ComposerView {
  #form = document.getElementById('composer');
  #input = document.getElementById('draft');
  #closed = document.getElementById('closed');
  #drafts = new Map();
  #chat = null;
  #shown = null;

  constructor({ onSaid }) {
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      if (!this.#say()) return;
      onSaid();
    });
    this.#input.addEventListener('keydown', (event) => {
      // While an input method composes, Enter chooses a word.
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#form.requestSubmit();
    });
    this.#input.addEventListener('input', () => {
      this.#fit();
      this.#chat.receipts.typing(this.#shown, this.#input.value !== '');
    });
    this.#input.addEventListener('blur', () => this.#shown && this.#chat.receipts.typing(this.#shown, false));
  }

  render(chat) {
    const it = chat.open;
    this.#chat = chat;
    this.#form.hidden = !it?.canWrite;
    if (it !== this.#shown) {
      if (this.#shown) this.#drafts.set(this.#shown.id, this.#input.value);
      this.#input.value = (it && this.#drafts.get(it.id)) ?? '';
      this.#shown = it;
      this.#fit();
      if (it && matchMedia('(pointer: fine)').matches) this.#input.focus();
    }
    this.#closed.hidden = !it || it.canWrite;
    this.#closed.textContent = it?.isDisbanded ? 'This group is disbanded.' : 'You are not a member of this group any more.';
  }

  #say() {
    const text = this.#input.value.trim();
    if (!text || !this.#shown || !this.#chat.say(this.#shown, text)) return false;
    this.#chat.receipts.typing(this.#shown, false);
    this.#input.value = '';
    this.#fit();
    return true;
  }

  #fit() {
    this.#input.style.height = 'auto';
    this.#input.style.height = `${Math.min(this.#input.scrollHeight, 180)}px`;
  }
}
