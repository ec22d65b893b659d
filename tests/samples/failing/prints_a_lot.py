from prefect import flow

print("\x1b[2J\x1b[31mred\u202egnp.exe\x07 and \x9b31m")
for number in range(1000):
    print("line", number)
raise ValueError("two\nlines \x1b]0;title\x07")
